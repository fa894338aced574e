from typing import Annotated, Any

from pydantic import MISSING, Field, with_config
from typing_extensions import TypedDict

from app.schemas.common import (
    AverageStars,
    Id,
    OptionalParam,
    PageQuery,
    SearchText,
    Timestamp,
    openapi_examples,
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


@with_config(openapi_examples(SUMMARY_EXAMPLE))
class HotelSummaryResponse(TypedDict):
    """The hotel of a deal."""

    id: Id
    name: Annotated[str, Field(description="Name of the hotel, unique in its city and country")]
    city: str
    country: str
    phone: Annotated[str, Field(description="Phone number, unique among all hotels")]
    avg_star_rating: AverageStars


@with_config(openapi_examples(HOTEL_EXAMPLE))
class HotelResponse(HotelSummaryResponse):
    """A hotel with its deal count."""

    deal_count: Annotated[int, Field(description="Number of the hotel's deals")]
    version: Annotated[
        int, Field(ge=1, description="Version of the hotel, incremented by every change")
    ]
    created_at: Timestamp
    updated_at: Timestamp


class HotelCreate(Body):
    """A new hotel. Its phone must be unique. Its name must be unique in its city and country."""

    model_config = openapi_examples(_NEW)

    name: HotelText
    city: HotelText
    country: HotelText
    phone: Phone


class HotelPatch(Body):
    """The fields of a hotel to change. Fields that are left out keep their values."""

    model_config = openapi_examples({"phone": "+41-44-555-0102"})

    name: HotelText | MISSING = MISSING
    city: HotelText | MISSING = MISSING
    country: HotelText | MISSING = MISSING
    phone: Phone | MISSING = MISSING


SearchedCity = Annotated[
    OptionalParam[SearchText],
    Field(description="Hotel's city (exact match, case-insensitive)", examples=["zürich"]),
]
SearchedCountry = Annotated[
    OptionalParam[SearchText],
    Field(description="Hotel's country (exact match, case-insensitive)", examples=["Switzerland"]),
]


class HotelQuery(PageQuery):
    """Filters and page of `GET /hotels`."""

    city: SearchedCity = None
    country: SearchedCountry = None
    q: Annotated[
        OptionalParam[SearchText],
        Field(
            description="Words that must each begin a word of the hotel's name or city",
            examples=["lake zür"],
        ),
    ] = None
