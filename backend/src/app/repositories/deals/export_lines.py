"""SQL statements in which PostgreSQL formats deals as lines of CSV or JSON.

Each set of filters has separate, cached statements. Without filters, an index returns the deals in
file order, so the first line does not wait for a sort. A lateral subquery looks up each deal's
hotel, and PostgreSQL caches the result. `OFFSET 0` keeps the planner from replacing the subquery
with another join.
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
    """Return three statements whose results together form a CSV file sorted by id.

    The second statement returns the deals without an `external_id`. The ids of these deals in the
    file count down from the bound parameter `last` as `deals.id` increases. The first and third
    statements return the deals with a lower and a higher `external_id`.
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
    """Return a statement that formats deals exactly as pydantic-core formats a `DealResponse`."""
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
    """Return a SELECT of a deals.csv file's columns, with `file_id` as the column `id`."""
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
    """Return an SQL expression that formats a column as in a deals.csv file."""
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
    """Return SQL expressions whose concatenation is the column in pydantic-core's JSON format."""
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
    """Return a lateral subquery that selects `columns` from the deal's hotel."""
    return (
        select(*columns)
        .where(Hotel.id == Deal.hotel_id)
        .correlate(Deal)
        .offset(literal_column("0"))
        .lateral("hotel")
    )


def _hotel_json() -> ColumnElement[Any]:
    # Remove the last zero, because Python writes the JSON number 4.0 and PostgreSQL writes 4.00.
    average = func.regexp_replace(cast(func.round(Hotel.star_rating, 2), Text), "0$", "")
    shown = select(*read.IDENTITY, cast(average, JSON).label("avg_star_rating"))
    row = shown.correlate_except().subquery("shown")
    found: ColumnElement[Any] = cast(func.row_to_json(literal_column("shown")), Text)
    return select(found).select_from(row).scalar_subquery().label("json")


def _categories(name: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an SQL expression for the deal's category names, joined by commas.

    `name` is the expression that formats one name.
    """
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
    """Return an SQL expression that limits a date to Python's range, as the driver does."""
    first, last = (cast(_literal(str(day)), Date) for day in (date.min, date.max))
    return func.least(func.greatest(column, first), last)


def _moment(column: Any) -> ColumnElement[Any]:
    """Return an SQL expression that formats a timestamp as ISO 8601 in UTC.

    Microseconds are omitted if they are zero.
    """
    whole = func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    return func.replace(whole, ".000000", "")


def _concat(parts: Sequence[Any]) -> ColumnElement[str]:
    return func.concat(*(_literal(part) if isinstance(part, str) else part for part in parts))


def _literal(text: str) -> ColumnElement[str]:
    """Return `text` as an SQL literal. `text` must be a constant, never user input."""
    quoted = text.replace("'", "''")
    return literal_column(f"'{quoted}'", Text)
