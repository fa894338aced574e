from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict


class CategoryResponse(TypedDict):
    """A category and how many deals carry it."""

    name: Annotated[str, Field(description="In lower case", examples=["luxury"])]
    deal_count: Annotated[int, Field(description="Deals that carry it", examples=[551])]
