from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict


class CategoryResponse(TypedDict):
    """A category with its deal count."""

    name: Annotated[str, Field(description="Name in lower case", examples=["luxury"])]
    deal_count: Annotated[
        int, Field(description="Number of deals in this category", examples=[551])
    ]
