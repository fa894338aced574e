from typing import Literal

from typing_extensions import TypedDict


class Health(TypedDict):
    """The service and its database answer."""

    status: Literal["ok"]
