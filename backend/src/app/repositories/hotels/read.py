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
# Hotels are sorted in this order only.
ORDER = "id"

# Maps each filter to its condition on hotels. The bound parameter has the filter's name. Queries of
# deals use the same conditions on the deals' hotels.
CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "city": Hotel.city_folded == func.fold_case(bindparam("city")),
    "country": Hotel.country_folded == func.fold_case(bindparam("country")),
    "min_stars": Hotel.star_rating >= bindparam("min_stars"),
    "q": Hotel.search_words.op("@@", return_type=Boolean)(
        func.fold_case(bindparam("q")).cast(TSQUERY)
    ),
}


def conditions(filters: Iterable[str]) -> list[ColumnElement[bool]]:
    """Return the conditions of those filters that apply to hotels."""
    return [CONDITIONS[name] for name in sorted(filters) if name in CONDITIONS]


def prefix_query(words: str) -> str:
    """Return a tsquery for hotels in which each of the words is the prefix of a word.

    Words are split at spaces, as in `search_words`, and quoted, so that `%`, `_`, `'` and `&` have
    no special meaning.
    """
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in words.split(" ") if word)
    return " & ".join(f"'{word}':*" for word in quoted)


def average_with_pending() -> ColumnElement[Any]:
    """Return a hotel's average including the changes of the running transaction.

    These changes are in `hotel_changes` until the commit adds them to the totals (docs/adr/0002).
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
    """The read queries of hotels."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, list[HotelResponse]]:
        """Return the total, None if `count` is "none", and the hotels at `place`."""
        statement = _page_statement(frozenset(filters), place.shape, counted=count != "none")
        parameters = {**_parameters(filters), **place.parameters}
        total, rows = split_total(await self._reader.rows(statement, parameters))
        return total, [_response(row[1:]) for row in rows]


def _response(row: AnyRow) -> HotelResponse:
    """Return the response of a row of `COLUMNS`."""
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
