"""Deals as lines of text that PostgreSQL writes: a statement for each combination of filters.

Where all deals pass, they are read by an index in the order of the file, so that nothing is sorted
before the first line. Each hotel is looked up by itself (`OFFSET 0` keeps PostgreSQL from joining
in another order) and remembered for the next deal of it.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.sql.selectable import LateralFromClause

from app.models import Category, Deal, Hotel, deal_categories
from app.repositories.categories import BY_NAME
from app.repositories.deals.filters import conditions
from app.repositories.pagination import AnySelect


@lru_cache(maxsize=128)
def file_stretches(filters: frozenset[str]) -> Sequence[AnySelect]:
    """Statements for a file's columns that follow each other in the order of its ids.

    Bound is `last`, the last of the ids that deals get which are from no file: deals with lower
    ids than those, these deals, the last one first, and deals with higher ids.
    """
    last = bindparam("last", type_=BigInteger)
    given: ColumnElement[Any] = Deal.__table__.c.external_id
    from_files = _file_columns(given).where(*conditions(filters)).order_by(given)
    others = _file_columns(last - Deal.id + 1).where(given.is_(None), *conditions(filters))
    return (
        from_files.where(given <= last),
        others.order_by(Deal.id.desc()),
        from_files.where(given > last),
    )


@lru_cache(maxsize=128)
def json_lines(filters: frozenset[str]) -> AnySelect:
    """A statement whose one column is a deal in JSON, as pydantic-core writes a `DealResponse`."""
    hotel = _hotel(_hotel_json())
    fields: dict[str, Sequence[Any]] = {
        "id": [Deal.id],
        "external_id": [func.coalesce(cast(Deal.external_id, Text), "null")],
        "hotel_id": [Deal.hotel_id],
        "room_type": [func.to_json(Deal.room_type)],
        "star_rating": [Deal.star_rating],
        "price_per_night": ['"', Deal.price_per_night, '"'],
        "original_price": ['"', Deal.original_price, '"'],
        "discount_percent": [Deal.discount_percent],
        "checkin_date": ['"', _day(Deal.checkin_date), '"'],
        "checkout_date": ['"', _day(Deal.checkout_date), '"'],
        "is_available": [cast(Deal.is_available, Text)],
        "categories": ["[", _categories(cast(func.to_json(Category.name), Text)), "]"],
        "version": [Deal.version_id],
        "created_at": ['"', _moment(Deal.created_at), '"'],
        "updated_at": ['"', _moment(Deal.updated_at), '"'],
        "hotel": [hotel.c.json],
    }
    parts: list[Any] = []
    for name, values in fields.items():
        parts += [f'{"," if parts else "{"}"{name}":', *values]
    texts = [_literal(part) if isinstance(part, str) else part for part in [*parts, "}"]]
    line = func.concat(*texts)
    return select(line).join_from(Deal, hotel, true()).where(*conditions(filters)).order_by(Deal.id)


def _file_columns(file_id: ColumnElement[Any]) -> AnySelect:
    """The columns of a deals.csv in its usual order and spelling."""
    hotel = _hotel(Hotel.name, Hotel.city, Hotel.country, Hotel.phone)
    # A category with a comma is quoted, as a field with one is; so is what would look quoted.
    quoted = func.concat('"', func.replace(Category.name, '"', '""'), '"')
    special = (func.strpos(Category.name, ",") > 0) | (func.left(Category.name, 1) == '"')
    categories = _categories(case((special, quoted), else_=Category.name))
    return select(
        file_id.label("id"),
        hotel.c.name.label("hotel_name"),
        hotel.c.city.label("hotel_city"),
        hotel.c.country.label("hotel_country"),
        Deal.star_rating.label("hotel_star_rating"),
        hotel.c.phone.label("hotel_phone"),
        Deal.room_type,
        Deal.price_per_night,
        Deal.original_price,
        Deal.discount_percent,
        _day(Deal.checkin_date).label("checkin_date"),
        _day(Deal.checkout_date).label("checkout_date"),
        case((Deal.is_available, _literal("True")), else_=_literal("False")).label("is_available"),
        # COPY would quote an empty text, but not a null.
        func.nullif(categories, "").label("categories"),
        func.timezone("UTC", Deal.created_at).label("created_at"),
    ).join_from(Deal, hotel, true())


def _hotel(*columns: Any) -> LateralFromClause:
    """Something of a deal's hotel."""
    return (
        select(*columns)
        .where(Hotel.id == Deal.hotel_id)
        .correlate(Deal)
        .offset(literal_column("0"))
        .lateral("hotel")
    )


def _hotel_json() -> ColumnElement[Any]:
    # 4.0 is a JSON number as Python writes it, 4.00 is not.
    average = func.regexp_replace(cast(func.round(Hotel.star_rating, 2), Text), "0$", "")
    shown = select(
        Hotel.id,
        Hotel.name,
        Hotel.city,
        Hotel.country,
        Hotel.phone,
        cast(average, JSON).label("avg_star_rating"),
    )
    row = shown.correlate_except().subquery("shown")
    found: ColumnElement[Any] = cast(func.row_to_json(literal_column("shown")), Text)
    return select(found).select_from(row).scalar_subquery().label("json")


def _categories(name: ColumnElement[Any]) -> ColumnElement[Any]:
    """The deal's categories, each written as `name`, with commas between."""
    names = (
        select(name)
        .join(deal_categories, deal_categories.c.category_id == Category.id)
        .where(deal_categories.c.deal_id == Deal.id)
        .order_by(BY_NAME)
        .correlate(Deal)
        .scalar_subquery()
    )
    return func.array_to_string(func.array(names, type_=ARRAY(Text)), ",")


def _day(column: Any) -> ColumnElement[Any]:
    """As reads show it: the driver takes the first and the last day of Python for infinities."""
    first, last = (cast(_literal(str(day)), Date) for day in (date.min, date.max))
    return func.least(func.greatest(column, first), last)


def _moment(column: Any) -> ColumnElement[Any]:
    """UTC in ISO 8601, with microseconds if there are any."""
    whole = func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    return func.replace(whole, ".000000", "")


def _literal(text: str) -> ColumnElement[str]:
    """Part of the statement and not of its parameters; code only, never anything from outside."""
    quoted = text.replace("'", "''")
    return literal_column(f"'{quoted}'", Text)
