from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict


class HealthResponse(TypedDict):
    """The service and its database answer."""

    status: Annotated[
        Literal["ok"], Field(description="Nothing else: otherwise 503", examples=["ok"])
    ]
