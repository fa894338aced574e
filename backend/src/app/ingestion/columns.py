"""The 15 columns of a deals.csv, in the order in which a row's first problem is looked for."""

from dataclasses import dataclass

from app.core import limits
from app.ingestion import rules

# A day of a month: any up to the 28th, the 29th and 30th outside February, the 31st where it is.
_DAY = (
    "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:0[13-9]|1[0-2])-(?:29|30)"
    "|(?:0[13578]|1[02])-31)"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column's rule and, for columns of mostly different values, its usual spelling.

    `usual` is a regular expression (RE2) of fields that are their own canonical text, so that a
    whole column passes without a Python call per value. It may only match what `rule` would
    return unchanged. The one exception are prices, whose canonical text has two decimal places:
    a usual one may have one, to which a zero is added.
    """

    name: str
    rule: rules.Rule
    usual: str | None = None
    is_price: bool = False


_PRICE = rf"^[1-9][0-9]{{0,{limits.PRICE_WHOLE_DIGITS - 1}}}\.[0-9]{{1,{limits.PRICE_PLACES}}}$"

ID = Column("id", rules.integer(1, limits.MAX_BIGINT), r"^[1-9][0-9]{0,17}$")
HOTEL_NAME = Column("hotel_name", rules.text(limits.MAX_HOTEL_TEXT_LENGTH))
HOTEL_CITY = Column("hotel_city", rules.text(limits.MAX_HOTEL_TEXT_LENGTH))
HOTEL_COUNTRY = Column("hotel_country", rules.text(limits.MAX_HOTEL_TEXT_LENGTH))
HOTEL_PHONE = Column("hotel_phone", rules.text(limits.MAX_PHONE_LENGTH))
STAR_RATING = Column("hotel_star_rating", rules.integer(limits.MIN_STARS, limits.MAX_STARS))
ROOM_TYPE = Column("room_type", rules.text(limits.MAX_ROOM_TYPE_LENGTH))
PRICE_PER_NIGHT = Column("price_per_night", rules.price(), _PRICE, is_price=True)
ORIGINAL_PRICE = Column("original_price", rules.price(), _PRICE, is_price=True)
DISCOUNT_PERCENT = Column("discount_percent", rules.integer(0, limits.MAX_DISCOUNT_PERCENT))
CHECKIN_DATE = Column("checkin_date", rules.calendar_date())
CHECKOUT_DATE = Column("checkout_date", rules.calendar_date())
IS_AVAILABLE = Column("is_available", rules.boolean())
CREATED_AT = Column(
    "created_at",
    rules.timestamp(),
    rf"^[12][0-9]{{3}}-{_DAY} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$",
)

# Categories have a check of their own: how their case is folded is the database's to say.
CATEGORIES = "categories"

HOTEL_COLUMNS = (HOTEL_PHONE, HOTEL_NAME, HOTEL_CITY, HOTEL_COUNTRY)
_BEFORE_CATEGORIES = (
    ID,
    HOTEL_NAME,
    HOTEL_CITY,
    HOTEL_COUNTRY,
    HOTEL_PHONE,
    STAR_RATING,
    ROOM_TYPE,
    PRICE_PER_NIGHT,
    ORIGINAL_PRICE,
    DISCOUNT_PERCENT,
    CHECKIN_DATE,
    CHECKOUT_DATE,
    IS_AVAILABLE,
)
SCALARS = (*_BEFORE_CATEGORIES, CREATED_AT)
NAMES = (*(column.name for column in _BEFORE_CATEGORIES), CATEGORIES, CREATED_AT.name)
