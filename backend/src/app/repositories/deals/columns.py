"""SQL column lists of deals, derived from `Deal.__table__` and the schemas.

Only this module relies on the order of the columns in a row.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Numeric, Text, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY

from app.models import Category, Deal, deal_categories
from app.repositories.categories import BY_NAME
from app.repositories.hotels import read
from app.repositories.pagination import AnySelect
from app.schemas.deals import DealCreate, DealResponse
from app.schemas.hotels import HotelSummaryResponse

TABLE = Deal.metadata.tables[Deal.__tablename__]
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_TYPES = {column.name: column.type.compile(_DIALECT) for column in TABLE.c}

# The columns that a client sets.
SETTABLE = tuple(name for name in DealCreate.model_fields if name in _TYPES)

_SHOWN = tuple(name for name in DealResponse.__annotations__ if name != "hotel")
_SHOWN_OF_HOTEL = tuple(HotelSummaryResponse.__annotations__)
_PRICES = {column.name for column in TABLE.c if isinstance(column.type, Numeric)}


def declared(names: Iterable[str]) -> str:
    """Return SQL text for a CREATE TABLE column list: each name with its type."""
    return ", ".join(f"{name} {_TYPES[name]}" for name in names)


def qualified(source: str, names: Iterable[str]) -> str:
    """Return SQL text for a select list: each name qualified with the table name `source`."""
    return ", ".join(f"{source}.{name}" for name in names)


def assigned(source: str, names: Iterable[str]) -> str:
    """Return SQL text for the SET list of an UPDATE that copies columns from the table `source`."""
    return ", ".join(f"{name} = {source}.{name}" for name in names)


def parameter(name: str) -> str:
    """Return SQL text for a bound parameter named like a deal's column, and cast to its type."""
    return f"CAST(:{name} AS {_TYPES[name]})"


def deal_columns(
    deal: Any, average: ColumnElement[Any] = read.AVERAGE_STARS
) -> list[ColumnElement[Any]]:
    """Return SQL expressions for a `DealResponse`, including the deal's categories and hotel.

    `average` is the SQL expression for the hotel's average star rating.
    """
    names = (
        select(Category.name)
        .join(deal_categories, deal_categories.c.category_id == Category.id)
        .where(deal_categories.c.deal_id == deal.id)
        .order_by(BY_NAME)
        .scalar_subquery()
    )
    other = {"categories": func.array(names, type_=ARRAY(Text)), "version": deal.version_id}
    return [
        *(other[name].label(name) if name in other else getattr(deal, name) for name in _SHOWN),
        # Both tables have an `id`, and the columns of a subquery need unique names.
        *(column.label(f"hotel.{column.name}") for column in read.IDENTITY),
        average.label("hotel.avg_star_rating"),
    ]


def deal_columns_of(deal: str, hotel: str, categories: str, average: str) -> str:
    """Return the columns of `deal_columns` as SQL text.

    `deal` and `hotel` are table names. `categories` and `average` are SQL expressions. Prices are
    cast to text.
    """
    other = {
        "categories": categories,
        "version": f"{deal}.version_id",
        **{name: f"CAST({deal}.{name} AS text)" for name in _PRICES},
    }
    own = [other.get(name, f"{deal}.{name}") for name in _SHOWN]
    return ", ".join([*own, *(f"{hotel}.{column.name}" for column in read.IDENTITY), average])


def with_prices_as_text(statement: AnySelect) -> AnySelect:
    """Cast the prices that `statement` returns to text, as `deal_response` expects them.

    Without the cast, the driver would convert each price to a decimal, and the response would
    convert it back to text.
    """
    return statement.with_only_columns(
        *(
            column.cast(Text).label(column.key) if isinstance(column.type, Numeric) else column
            for column in statement.selected_columns
        )
    )


def deal_response(row: Iterable[Any]) -> DealResponse:
    """Convert a row `(total, *deal_columns)`, with prices as text, to a `DealResponse`."""
    values = iter(row)
    next(values)
    # Each zip() stops after its last name, and the next one continues with the following value.
    deal: Any = dict(zip(_SHOWN, values, strict=False))
    deal["hotel"] = dict(zip(_SHOWN_OF_HOTEL, values, strict=False))
    response: DealResponse = deal
    return response
