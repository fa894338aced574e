from typing import Annotated, Any

from pydantic import MISSING, Field, with_config
from typing_extensions import TypedDict

from app.schemas.common import (
    AverageStars,
    Id,
    IfSent,
    NextCursor,
    PageLimit,
    PageQuery,
    SearchText,
    Skipped,
    Timestamp,
    shows,
)
from app.schemas.request_types import Body, HotelText, Phone

SUMMARY_EXAMPLE: dict[str, Any] = {
    "id": 3,
    "name": "Lakeside Court",
    "city": "Zürich",
    "country": "Switzerland",
    "phone": "+41-44-555-0101",
    "avg_star_rating": 4.25,
}
HOTEL_EXAMPLE: dict[str, Any] = {
    **SUMMARY_EXAMPLE,
    "deal_count": 12,
    "version": 1,
    "created_at": "2026-11-21T11:35:02.886107Z",
    "updated_at": "2026-11-21T11:35:02.886107Z",
}
_NEW = {name: HOTEL_EXAMPLE[name] for name in ("name", "city", "country", "phone")}


@with_config(shows(SUMMARY_EXAMPLE))
class HotelSummary(TypedDict):
    """A hotel as a deal shows it."""

    id: Id
    name: Annotated[str, Field(description="Its own in its city and country")]
    city: str
    country: str
    phone: Annotated[str, Field(description="Its own")]
    avg_star_rating: AverageStars


@with_config(shows(HOTEL_EXAMPLE))
class Hotel(HotelSummary):
    """A hotel with how many deals it has."""

    deal_count: Annotated[int, Field(description="Deals of the hotel")]
    version: Annotated[int, Field(ge=1, description="Rises with every change of the hotel")]
    created_at: Timestamp
    updated_at: Timestamp


class HotelCreate(Body):
    """A new hotel. Its phone is its own, and so is its name in its city and country."""

    model_config = shows(_NEW)

    name: HotelText
    city: HotelText
    country: HotelText
    phone: Phone


class HotelPatch(Body):
    """What changes of a hotel: the fields that are sent, the others stay."""

    model_config = shows({"phone": "+41-44-555-0102"})

    name: HotelText | MISSING = MISSING
    city: HotelText | MISSING = MISSING
    country: HotelText | MISSING = MISSING
    phone: Phone | MISSING = MISSING


_PAGE: dict[str, Any] = {
    "items": [HOTEL_EXAMPLE],
    "total": 1,
    "skip": 0,
    "limit": 20,
    "next_cursor": None,
}


@with_config(shows(_PAGE))
class HotelPage(TypedDict):
    """A page of hotels, ordered by id."""

    items: list[Hotel]
    total: Annotated[int | None, Field(description="Matching hotels; null with `count=none`")]
    skip: Skipped
    limit: PageLimit
    next_cursor: NextCursor


SearchedCity = Annotated[
    IfSent[SearchText],
    Field(description="The hotel's city: exact, ignoring case", examples=["zürich"]),
]
SearchedCountry = Annotated[
    IfSent[SearchText],
    Field(description="The hotel's country: exact, ignoring case", examples=["Switzerland"]),
]


class HotelQuery(PageQuery):
    """Filters and page of `GET /hotels`."""

    city: SearchedCity = None
    country: SearchedCountry = None
    q: Annotated[
        IfSent[SearchText],
        Field(description="Starts of words of the name or city", examples=["lake zür"]),
    ] = None
