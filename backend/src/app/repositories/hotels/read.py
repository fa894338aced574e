from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Boolean, ColumnElement, Float, bindparam, func, select
from sqlalchemy.dialects.postgresql import TSQUERY

from app.db.reader import AnyRow, Reader
from app.models import Hotel, hotel_changes
from app.repositories.pagination import (
    NO_TOTAL,
    AnySelect,
    PagePosition,
    PageStatementKey,
    apply_page,
    count_rows,
    ordering,
    split_total,
    with_total,
)
from app.schemas.hotels import HotelResponse, HotelSummaryResponse

AVERAGE_STARS = func.round(Hotel.star_rating, 2).cast(Float).label("avg_star_rating")

_OTHER = {"avg_star_rating": AVERAGE_STARS, "version": Hotel.version_id.label("version")}
COLUMNS: tuple[ColumnElement[Any], ...] = tuple(
    _OTHER[name] if name in _OTHER else getattr(Hotel, name)
    for name in HotelResponse.__annotations__
)
IDENTITY = tuple(
    getattr(Hotel, name) for name in HotelSummaryResponse.__annotations__ if name not in _OTHER
)
# Hotels are always sorted by this field.
ORDER = "id"

# The SQL condition of each filter on hotels. The condition's bound parameter has the name of the
# filter. Queries that read deals use these conditions to select hotels.
CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "city": Hotel.city_folded == func.fold_case(bindparam("city")),
    "country": Hotel.country_folded == func.fold_case(bindparam("country")),
    "min_stars": Hotel.star_rating >= bindparam("min_stars"),
    "q": Hotel.search_words.op("@@", return_type=Boolean)(
        func.fold_case(bindparam("q")).cast(TSQUERY)
    ),
}


def conditions(filters: Iterable[str]) -> list[ColumnElement[bool]]:
    """Return SQL conditions on hotels. Filters that apply only to deals are ignored."""
    return [CONDITIONS[name] for name in sorted(filters) if name in CONDITIONS]


def prefix_query(words: str) -> str:
    """Build a tsquery that matches hotels with at least one word for each prefix in `words`.

    Spaces separate the prefixes. The tsquery quotes each prefix, so that `%`, `_`, `'` and `&` have
    no special meaning.
    """
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in words.split(" ") if word)
    return " & ".join(f"'{word}':*" for word in quoted)


def average_with_pending() -> ColumnElement[Any]:
    """Return an SQL expression for a hotel's average star rating.

    The average includes the running transaction's own changes, which the table `hotel_changes`
    holds until the commit (docs/adr/0002).
    """

    def pending(column: ColumnElement[int]) -> ColumnElement[Any]:
        return (
            select(func.coalesce(func.sum(column), 0))
            .where(hotel_changes.c.transaction_id == func.txid_current())
            .where(hotel_changes.c.hotel_id == Hotel.id)
            .correlate(Hotel)
            .scalar_subquery()
        )

    stars = Hotel.star_sum + pending(hotel_changes.c.star_sum)
    deals = Hotel.deal_count + pending(hotel_changes.c.deal_count)
    return func.round(stars / func.nullif(deals, 0), 2).cast(Float)


class HotelReadRepository:
    """Queries that read hotels."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, list[HotelResponse]]:
        """Return a page of hotels and the total. The total is None if `count` is "none"."""
        statement = _page_statement(frozenset(filters), place.shape, counted=count != "none")
        parameters = {**_parameters(filters), **place.parameters}
        total, rows = split_total(await self._reader.rows(statement, parameters))
        return total, [_response(row[1:]) for row in rows]


def _response(row: AnyRow) -> HotelResponse:
    """Convert a row selected with `COLUMNS` to a `HotelResponse`."""
    return cast("HotelResponse", dict(zip(HotelResponse.__annotations__, row, strict=True)))


def _parameters(filters: Mapping[str, Any]) -> dict[str, Any]:
    parameters = dict(filters)
    if "q" in parameters:
        parameters["q"] = prefix_query(parameters["q"])
    return parameters


@lru_cache(maxsize=64)
def _page_statement(
    filters: frozenset[str], shape: PageStatementKey, *, counted: bool
) -> AnySelect:
    narrowed = conditions(filters)
    matching = select(*COLUMNS).where(*narrowed)
    page = apply_page(matching, Hotel.__table__.c, shape).subquery("page")
    total = count_rows(Hotel, narrowed) if counted else NO_TOTAL
    return with_total(page, total, ordering(ORDER, page.c))
