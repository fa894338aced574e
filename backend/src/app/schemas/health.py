from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict


class HealthResponse(TypedDict):
    """The result of a successful health check."""

    status: Annotated[
        Literal["ok"],
        Field(description="Always `ok`, because a failed check returns 503", examples=["ok"]),
    ]
