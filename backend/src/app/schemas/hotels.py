from typing import Annotated

from pydantic import MISSING, Field
from typing_extensions import TypedDict

from app.schemas.common import (
    AverageStars,
    Id,
    IfSent,
    NextCursor,
    PageQuery,
    SearchText,
    Timestamp,
)
from app.schemas.inputs import Body, HotelText, Phone


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
    version: Annotated[int, Field(ge=1, description="Rises with every change of the hotel")]
    created_at: Timestamp
    updated_at: Timestamp


class HotelCreate(Body):
    """A new hotel. Its phone is its own, and so is its name in its city and country."""

    name: HotelText
    city: HotelText
    country: HotelText
    phone: Phone


class HotelPatch(Body):
    """What changes of a hotel: the fields that are sent, the others stay."""

    name: HotelText | MISSING = MISSING
    city: HotelText | MISSING = MISSING
    country: HotelText | MISSING = MISSING
    phone: Phone | MISSING = MISSING


class HotelPage(TypedDict):
    """A page of hotels, ordered by id."""

    items: list[Hotel]
    total: Annotated[int | None, Field(description="Matching hotels; null with `count=none`")]
    skip: Annotated[int | None, Field(description="Null on a cursor page")]
    limit: int
    next_cursor: NextCursor


class HotelQuery(PageQuery):
    """Filters and page of `GET /hotels`."""

    city: Annotated[IfSent[SearchText], Field(description="Exact, ignoring case")] = None
    country: Annotated[IfSent[SearchText], Field(description="Exact, ignoring case")] = None
    q: Annotated[IfSent[SearchText], Field(description="Starts of words of the name or city")] = (
        None
    )
