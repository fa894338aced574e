"""The 15 columns of a deals.csv file, in the order in which a row's fields are checked."""

from dataclasses import dataclass

from app.core import limits
from app.ingestion import rules
from app.schemas.deals_csv import CATEGORIES

# A pattern for a month and a day: days 1 to 28 in every month, 29 and 30 except in February, and 31
# in months of 31 days. February 29 is missing, so the slower rule checks such dates.
_DAY = (
    "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:0[13-9]|1[0-2])-(?:29|30)"
    "|(?:0[13578]|1[02])-31)"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column with the rule for its fields.

    `usual` makes checks fast for a column of mostly distinct values. This regular expression (RE2)
    matches fields that are already canonical, so the check calls no Python function for them.
    `usual` may match only fields that `rule` would return unchanged. Prices are an exception: a
    matching price may have one decimal place, and the check appends a zero.
    """

    name: str
    rule: rules.Rule
    usual: str | None = None
    is_price: bool = False


_PRICE = rf"^[1-9][0-9]{{0,{limits.PRICE_WHOLE_DIGITS - 1}}}\.[0-9]{{1,{limits.PRICE_PLACES}}}$"

ID = "id"
HOTEL_PHONE = "hotel_phone"
CHECKIN_DATE = "checkin_date"
CHECKOUT_DATE = "checkout_date"
# The columns of a hotel, in the order of the fields of `validated_chunk.Hotel`.
HOTEL = (HOTEL_PHONE, "hotel_name", "hotel_city", "hotel_country")

_BEFORE_CATEGORIES = (
    Column(ID, rules.integer(1, limits.MAX_BIGINT), r"^[1-9][0-9]{0,17}$"),
    Column("hotel_name", rules.text(limits.MAX_HOTEL_TEXT_LENGTH)),
    Column("hotel_city", rules.text(limits.MAX_HOTEL_TEXT_LENGTH)),
    Column("hotel_country", rules.text(limits.MAX_HOTEL_TEXT_LENGTH)),
    Column(HOTEL_PHONE, rules.text(limits.MAX_PHONE_LENGTH)),
    Column("hotel_star_rating", rules.integer(limits.MIN_STARS, limits.MAX_STARS)),
    Column("room_type", rules.text(limits.MAX_ROOM_TYPE_LENGTH)),
    Column("price_per_night", rules.price(), _PRICE, is_price=True),
    Column("original_price", rules.price(), _PRICE, is_price=True),
    Column("discount_percent", rules.integer(0, limits.MAX_DISCOUNT_PERCENT)),
    Column(CHECKIN_DATE, rules.calendar_date()),
    Column(CHECKOUT_DATE, rules.calendar_date()),
    Column("is_available", rules.boolean()),
)
_CREATED_AT = Column(
    "created_at",
    rules.timestamp(),
    rf"^[12][0-9]{{3}}-{_DAY} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$",
)

# All columns except the categories. The categories have a separate check, because the database
# folds their case.
SCALARS = (*_BEFORE_CATEGORIES, _CREATED_AT)
NAMES = (*(column.name for column in _BEFORE_CATEGORIES), CATEGORIES, _CREATED_AT.name)
