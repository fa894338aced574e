"""Types of the values in requests.

They refuse likely mistakes that pydantic would convert by default, such as a boolean for a number,
a timestamp for a date, or "1e2" for a price. CHECK constraints enforce the same rules in the
database, and a test compares both.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from app.core import limits
from app.schemas.common import BIGINT_END, NORMALIZED, TEXT_RULES, length_up_to

_PRICE_TEXT = rf"[0-9]{{1,{limits.PRICE_WHOLE_DIGITS}}}(\.[0-9]{{1,{limits.PRICE_PLACES}}})?"
_PRICE = re.compile(_PRICE_TEXT)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Body(BaseModel):
    """The base model of request bodies. It refuses unknown fields, so that typos cause an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _integer(value: Any) -> Any:
    """Convert a float without fraction to an integer, because 5.0 is an integer in JSON.

    Floats of 2**53 and above are not converted, because they may have lost precision.
    """
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if whole else value


def _price(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("Input should be a number or a decimal string")  # noqa: TRY004 - pydantic's
    if isinstance(value, str) and not _PRICE.fullmatch(value):
        raise ValueError('Input should be a decimal with at most two places, like "176.18"')
    return value


def _calendar_date(value: Any) -> Any:
    if not isinstance(value, date) and not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("Input should be a date like 2026-12-01")
    return value


PRICE_BOUNDS = Field(
    gt=0, lt=limits.PRICE_END, decimal_places=limits.PRICE_PLACES, allow_inf_nan=False
)
PRICE_RULES = {
    "type": "number",
    "exclusiveMinimum": 0,
    "exclusiveMaximum": limits.PRICE_END,
    "multipleOf": 0.01,
}
Price = Annotated[
    Decimal,
    BeforeValidator(_price),
    PRICE_BOUNDS,
    WithJsonSchema(
        {
            "anyOf": [
                PRICE_RULES,
                {"type": "string", "pattern": rf"^(?![0.]*$){_PRICE_TEXT}$"},
            ],
            "examples": ["176.18"],
        }
    ),
]
CalendarDate = Annotated[date, BeforeValidator(_calendar_date), Field(examples=["2026-12-01"])]
Stars = Annotated[
    int,
    Field(strict=True, ge=limits.MIN_STARS, le=limits.MAX_STARS, examples=[4]),
    BeforeValidator(_integer),
]
Percent = Annotated[
    int,
    Field(strict=True, ge=0, le=limits.MAX_DISCOUNT_PERCENT, examples=[28]),
    BeforeValidator(_integer),
]
EntityId = Annotated[int, Field(strict=True, ge=1, lt=BIGINT_END), BeforeValidator(_integer)]
StrictBool = Annotated[bool, Field(strict=True)]
RoomType = Annotated[
    str,
    length_up_to(limits.MAX_ROOM_TYPE_LENGTH),
    NORMALIZED,
    TEXT_RULES,
    Field(examples=["suite"]),
]
CategoryName = Annotated[str, length_up_to(limits.MAX_CATEGORY_LENGTH), NORMALIZED, TEXT_RULES]
CategoryNames = Annotated[
    list[CategoryName],
    Field(
        max_length=limits.MAX_CATEGORIES,
        description="Category names, stored in lower case without duplicates. The service creates "
        "categories that do not exist.",
        examples=[["boutique", "luxury"]],
    ),
]
HotelText = Annotated[str, length_up_to(limits.MAX_HOTEL_TEXT_LENGTH), NORMALIZED, TEXT_RULES]
Phone = Annotated[str, length_up_to(limits.MAX_PHONE_LENGTH), NORMALIZED, TEXT_RULES]
