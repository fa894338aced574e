"""Statements by which PostgreSQL writes deals as lines of text, one for each set of filters.

Without filters, an index provides the deals in the order of the file, so that the first line needs
no sort. Each hotel is looked up separately and cached for its next deal. `OFFSET 0` keeps
PostgreSQL from joining in another order.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Integer,
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
from app.repositories.deals.columns import TABLE
from app.repositories.deals.filters import conditions
from app.repositories.hotels import read
from app.repositories.pagination import AnySelect
from app.schemas.deals import DealResponse
from app.schemas.deals_csv import CATEGORIES, COLUMNS, DEAL_COLUMNS, HOTEL_COLUMNS


@lru_cache(maxsize=128)
def file_stretches(filters: frozenset[str]) -> Sequence[AnySelect]:
    """Return the statements whose results, one after the other, are a file in order of its ids.

    Deals without an `external_id` get ids up to the bound parameter `last`. The first statement
    returns the deals with lower ids, the second returns those deals from the last to the first,
    and the third returns the deals with higher ids.
    """
    last = bindparam("last", type_=BigInteger)
    given: ColumnElement[Any] = TABLE.c.external_id
    from_files = _file_columns(given).where(*conditions(filters)).order_by(given)
    others = _file_columns(last - Deal.id + 1).where(given.is_(None), *conditions(filters))
    return (
        from_files.where(given <= last),
        others.order_by(Deal.id.desc()),
        from_files.where(given > last),
    )


@lru_cache(maxsize=128)
def json_lines(filters: frozenset[str]) -> AnySelect:
    """Return a statement of deals as JSON text, as pydantic-core writes a `DealResponse`."""
    hotel = _hotel(_hotel_json())
    others: dict[str, Sequence[Any]] = {
        "categories": ["[", _categories(cast(func.to_json(Category.name), Text)), "]"],
        "version": [Deal.version_id],
        "hotel": [hotel.c.json],
    }
    parts: list[Any] = []
    for name in DealResponse.__annotations__:
        values = others[name] if name in others else _json(TABLE.c[name])
        parts += [f'{"," if parts else "{"}"{name}":', *values]
    line = _concat([*parts, "}"])
    return select(line).join_from(Deal, hotel, true()).where(*conditions(filters)).order_by(Deal.id)


def _file_columns(file_id: ColumnElement[Any]) -> AnySelect:
    """Return the columns of a deals.csv in their usual order and format."""
    hotel = _hotel(*(Hotel.__table__.c[column] for column in HOTEL_COLUMNS.values()))
    # A category is quoted if it contains a comma or starts with a quote.
    quoted = func.concat('"', func.replace(Category.name, '"', '""'), '"')
    special = (func.strpos(Category.name, ",") > 0) | (func.left(Category.name, 1) == '"')
    categories = _categories(case((special, quoted), else_=Category.name))
    others = {
        "id": file_id,
        # COPY would quote an empty text, but not a null.
        CATEGORIES: func.nullif(categories, ""),
        **{name: hotel.c[column] for name, column in HOTEL_COLUMNS.items()},
    }
    own = {name: _csv(TABLE.c[column]) for name, column in DEAL_COLUMNS.items()}
    columns: dict[str, ColumnElement[Any]] = {**own, **others}
    return select(*(columns[name].label(name) for name in COLUMNS)).join_from(Deal, hotel, true())


def _csv(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column in the format of a deals.csv."""
    match column.type:
        case Boolean():
            return case((column, _literal("True")), else_=_literal("False"))
        case Date():
            return _day(column)
        case DateTime():
            return func.timezone("UTC", column)
        case _:
            return column


def _json(column: Column[Any]) -> Sequence[Any]:
    """Return a column in pydantic-core's JSON format, as parts to concatenate."""
    parts: list[Any]
    match column.type:
        case Text():
            parts = [func.to_json(column)]
        case Boolean():
            parts = [cast(column, Text)]
        case Integer():
            parts = [column]
        case Date():
            parts = ['"', _day(column), '"']
        case DateTime():
            parts = ['"', _moment(column), '"']
        case _:
            parts = ['"', column, '"']
    if column.nullable:
        return [case((column.is_(None), _literal("null")), else_=_concat(parts))]
    return parts


def _hotel(*columns: Any) -> LateralFromClause:
    """Return a lateral subquery of columns of the deal's hotel."""
    return (
        select(*columns)
        .where(Hotel.id == Deal.hotel_id)
        .correlate(Deal)
        .offset(literal_column("0"))
        .lateral("hotel")
    )


def _hotel_json() -> ColumnElement[Any]:
    # Python writes the JSON number 4.0, and PostgreSQL would write 4.00.
    average = func.regexp_replace(cast(func.round(Hotel.star_rating, 2), Text), "0$", "")
    shown = select(*read.IDENTITY, cast(average, JSON).label("avg_star_rating"))
    row = shown.correlate_except().subquery("shown")
    found: ColumnElement[Any] = cast(func.row_to_json(literal_column("shown")), Text)
    return select(found).select_from(row).scalar_subquery().label("json")


def _categories(name: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the deal's categories, each formatted by `name`, separated by commas."""
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
    """Return a date in the range of Python, to which the driver maps infinite dates."""
    first, last = (cast(_literal(str(day)), Date) for day in (date.min, date.max))
    return func.least(func.greatest(column, first), last)


def _moment(column: Any) -> ColumnElement[Any]:
    """Return a timestamp in UTC and ISO 8601, with microseconds unless they are zero."""
    whole = func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    return func.replace(whole, ".000000", "")


def _concat(parts: Sequence[Any]) -> ColumnElement[str]:
    return func.concat(*(_literal(part) if isinstance(part, str) else part for part in parts))


def _literal(text: str) -> ColumnElement[str]:
    """Return a literal inside the SQL text. It must be a constant of the code, never user input."""
    quoted = text.replace("'", "''")
    return literal_column(f"'{quoted}'", Text)
