from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from app.schemas.common import AverageStars, Id, NextCursor, PageQuery, SearchText, Timestamp


class HotelSummary(TypedDict):
    """A hotel as a deal shows it."""

    id: Id
    name: str
    city: str
    country: str
    phone: str
    avg_star_rating: AverageStars


class Hotel(HotelSummary):
    """A hotel with how many deals it has."""

    deal_count: int
    created_at: Timestamp
    updated_at: Timestamp


class HotelPage(TypedDict):
    """A page of hotels, ordered by id."""

    items: list[Hotel]
    total: Annotated[int | None, Field(description="Matching hotels; null with `count=none`")]
    skip: Annotated[int | None, Field(description="Null on a cursor page")]
    limit: int
    next_cursor: NextCursor


class HotelQuery(PageQuery):
    """Filters and page of `GET /hotels`."""

    city: Annotated[SearchText | None, Field(description="Exact, ignoring case")] = None
    country: Annotated[SearchText | None, Field(description="Exact, ignoring case")] = None
    q: Annotated[SearchText | None, Field(description="Starts of words of the name or city")] = None
