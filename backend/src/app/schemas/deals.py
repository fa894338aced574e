from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    MISSING,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from app.core import limits
from app.schemas.common import (
    Id,
    Money,
    OptionalParam,
    PageQuery,
    SearchText,
    Timestamp,
    openapi_examples,
)
from app.schemas.hotels import SUMMARY_EXAMPLE, HotelSummaryResponse, SearchedCity, SearchedCountry
from app.schemas.request_types import (
    PRICE_BOUNDS,
    PRICE_RULES,
    Body,
    CalendarDate,
    CategoryNames,
    EntityId,
    Percent,
    Price,
    RoomType,
    Stars,
    StrictBool,
)

SortField = Literal[
    "id", "price_per_night", "discount_percent", "star_rating", "checkin_date", "created_at"
]
SORT_FIELDS: tuple[str, ...] = get_args(SortField)
_ONE_SORT = f"-?({'|'.join(SORT_FIELDS)})"
SORT_PATTERN = f"^{_ONE_SORT}(,{_ONE_SORT})*$"

MAX_CATEGORY_FILTERS = 20

PriceBound = Annotated[Decimal, PRICE_BOUNDS, WithJsonSchema(PRICE_RULES)]
StarsBound = Annotated[
    Decimal,
    Field(ge=0, le=limits.MAX_STARS, decimal_places=10, allow_inf_nan=False),
    WithJsonSchema(
        {"type": "number", "minimum": 0, "maximum": limits.MAX_STARS, "multipleOf": 1e-10}
    ),
]
DATES_RULE = "must be after checkin_date"


_NEW: dict[str, Any] = {
    "hotel_id": 3,
    "room_type": "suite",
    "star_rating": 4,
    "price_per_night": "176.18",
    "original_price": "244.69",
    "discount_percent": 28,
    "checkin_date": "2026-12-01",
    "checkout_date": "2026-12-06",
    "is_available": True,
    "categories": ["boutique", "luxury"],
}
NEW_DEAL_EXAMPLE = {"external_id": 70001, **_NEW}
DEAL_EXAMPLE = {
    "id": 1,
    **NEW_DEAL_EXAMPLE,
    "version": 1,
    "created_at": "2026-11-21T11:35:02.917328Z",
    "updated_at": "2026-11-21T11:35:02.917328Z",
    "hotel": SUMMARY_EXAMPLE,
}


@with_config(openapi_examples(DEAL_EXAMPLE))
class DealResponse(TypedDict):
    """An offer of a hotel: one type of room, for given nights."""

    id: Id
    external_id: Annotated[
        int | None,
        Field(
            description="Id of the deal in its source, such as a CSV file, or null if the source "
            "gave no id"
        ),
    ]
    hotel_id: Id
    room_type: Annotated[str, Field(examples=["suite"])]
    star_rating: Annotated[
        int, Field(ge=limits.MIN_STARS, le=limits.MAX_STARS, description="Stars of the deal")
    ]
    price_per_night: Money
    original_price: Money
    discount_percent: Annotated[int, Field(ge=0, le=limits.MAX_DISCOUNT_PERCENT)]
    checkin_date: date
    checkout_date: Annotated[date, Field(description="After `checkin_date`")]
    is_available: Annotated[bool, Field(description="False if the deal is sold")]
    categories: Annotated[
        list[str], Field(description="Sorted by name", examples=[["boutique", "luxury"]])
    ]
    version: Annotated[
        int, Field(ge=1, description="Version of the deal, incremented by every change")
    ]
    created_at: Timestamp
    updated_at: Timestamp
    hotel: HotelSummaryResponse


class DealCreate(Body):
    """A new deal."""

    model_config = openapi_examples(NEW_DEAL_EXAMPLE, _NEW)

    external_id: Annotated[
        EntityId | None, Field(description="Id of the deal in its source, unique among all deals")
    ] = None
    hotel_id: Annotated[EntityId, Field(description="`id` of an existing hotel")]
    room_type: RoomType
    star_rating: Stars
    price_per_night: Price
    original_price: Price
    discount_percent: Percent
    checkin_date: CalendarDate
    checkout_date: Annotated[CalendarDate, Field(description="After `checkin_date`")]
    is_available: Annotated[StrictBool, Field(description="False if the deal is sold")] = True
    categories: CategoryNames = Field(default_factory=list)

    @field_validator("checkout_date")
    @classmethod
    def _after_checkin(cls, checkout: date, info: ValidationInfo) -> date:
        checkin = info.data.get("checkin_date")
        if checkin is not None and checkout <= checkin:
            raise ValueError(DATES_RULE)
        return checkout


class DealPatch(Body):
    """The fields of a deal to change. Fields that are left out keep their values."""

    model_config = openapi_examples(
        {"price_per_night": "150.00", "discount_percent": 39}, {"is_available": False}
    )

    external_id: EntityId | MISSING | None = MISSING
    hotel_id: EntityId | MISSING = MISSING
    room_type: RoomType | MISSING = MISSING
    star_rating: Stars | MISSING = MISSING
    price_per_night: Price | MISSING = MISSING
    original_price: Price | MISSING = MISSING
    discount_percent: Percent | MISSING = MISSING
    checkin_date: CalendarDate | MISSING = MISSING
    checkout_date: CalendarDate | MISSING = MISSING
    is_available: StrictBool | MISSING = MISSING
    categories: CategoryNames | MISSING = MISSING


class CityStatsResponse(TypedDict):
    """A city with the average price and the count of its deals."""

    city: Annotated[str, Field(examples=["London"])]
    avg_price: Money
    deal_count: Annotated[int, Field(description="Number of deals in the average", examples=[2493])]


AvailableOnly = Annotated[bool, Field(description="Only deals that are not sold", examples=[True])]


class DealFilters(BaseModel):
    """Filters of deals. A filter that is left out matches every deal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    city: SearchedCity = None
    country: SearchedCountry = None
    min_stars: Annotated[
        OptionalParam[StarsBound],
        Field(description="Minimum of the hotel's average stars", examples=[3.5]),
    ] = None
    price_min: Annotated[
        OptionalParam[PriceBound], Field(description="Minimum price per night", examples=[50])
    ] = None
    price_max: Annotated[
        OptionalParam[PriceBound],
        Field(description="Maximum price per night", examples=[199.99]),
    ] = None
    category: Annotated[
        OptionalParam[list[SearchText]],
        Field(
            max_length=MAX_CATEGORY_FILTERS,
            description="Only deals in at least one of these categories. Repeatable.",
            examples=[["luxury", "beach"]],
        ),
    ] = None
    hotel_id: Annotated[
        OptionalParam[Id], Field(description="Only deals of this hotel", examples=[3])
    ] = None
    room_type: Annotated[
        OptionalParam[SearchText],
        Field(description="Type of room (exact match, case-sensitive)", examples=["suite"]),
    ] = None
    available_only: AvailableOnly = False
    min_discount: Annotated[
        OptionalParam[int],
        Field(
            ge=0,
            le=limits.MAX_DISCOUNT_PERCENT,
            description="Minimum discount in percent",
            examples=[20],
        ),
    ] = None
    checkin_from: Annotated[
        OptionalParam[CalendarDate],
        Field(description="Earliest check-in date", examples=["2026-12-01"]),
    ] = None
    checkin_to: Annotated[
        OptionalParam[CalendarDate],
        Field(description="Latest check-in date", examples=["2026-12-31"]),
    ] = None
    q: Annotated[
        OptionalParam[SearchText],
        Field(
            description="Words that must each begin a word of the hotel's name or city",
            examples=["lake zür"],
        ),
    ] = None

    @model_validator(mode="after")
    def _ranges_have_an_inside(self) -> Self:
        if self.price_min and self.price_max and self.price_min > self.price_max:
            raise ValueError("price_min must not be above price_max")
        if self.checkin_from and self.checkin_to and self.checkin_from > self.checkin_to:
            raise ValueError("checkin_from must not be after checkin_to")
        return self


class DealQuery(DealFilters, PageQuery):
    """Filters, sort order and page of `GET /deals`."""

    sort: Annotated[
        str,
        Field(
            pattern=SORT_PATTERN,
            description="Comma-separated fields. A `-` before a field means descending order. Ties "
            "are sorted by `id`.",
            examples=["-discount_percent,price_per_night"],
        ),
    ] = "id"

    @model_validator(mode="after")
    def _each_sort_field_once(self) -> Self:
        fields = [field.removeprefix("-") for field in self.sort.split(",")]
        if len(set(fields)) != len(fields):
            raise ValueError("sort names a field twice")
        return self


class StatisticsQuery(BaseModel):
    """Query parameters of `GET /deals/stats`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    available_only: AvailableOnly = False
