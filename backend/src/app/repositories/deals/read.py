"""Queries that read deals. Each combination of filters and page options has a cached statement."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, cast, func, select
from sqlalchemy.orm import aliased

from app.db.reader import Reader
from app.models import Deal, Hotel
from app.repositories.deals.columns import deal_columns, deal_response, with_prices_as_text
from app.repositories.deals.filters import bind_parameters, total
from app.repositories.deals.page_plan import page_rows
from app.repositories.pagination import (
    NO_TOTAL,
    AnySelect,
    PagePosition,
    PageStatementKey,
    ordering,
    split_total,
    with_total,
)
from app.schemas.deals import CityStatsResponse, DealResponse


class DealReadRepository:
    """Queries that read deals."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, list[DealResponse]]:
        """Return a page of deals and the total, from one query.

        Args:
            filters: a mapping from field names of `DealFilters` to values.
            place: the position, order and limit of the page.
            count: "exact", "estimated" or "none".

        Returns:
            The total, which is None if `count` is "none", and the deals. If there is a next page,
            the list has one deal more than the limit.
        """
        statement = _page_statement(
            frozenset(filters),
            place.shape,
            count,
            single_category=len(filters.get("category", ())) == 1,
        )
        parameters = {**bind_parameters(filters), **place.parameters}
        in_all, rows = split_total(await self._reader.rows(statement, parameters))
        return in_all, [deal_response(row) for row in rows]

    async def get(self, deal_id: int) -> DealResponse | None:
        """Return a deal, or None if it does not exist."""
        row = await self._reader.row(_ONE, {"deal_id": deal_id})
        return deal_response(row) if row else None

    async def statistics_by_city(self, *, available_only: bool) -> list[CityStatsResponse]:
        """Return the average price and deal count of each city with deals, most deals first."""
        return [
            {"city": city, "avg_price": average, "deal_count": count}
            for city, average, count in await self._reader.rows(_STATISTICS[available_only])
        ]


@lru_cache(maxsize=128)
def _page_statement(
    filters: frozenset[str], shape: PageStatementKey, count: str, *, single_category: bool
) -> AnySelect:
    """Build a statement that selects a page of deals, with the total in every row."""
    deal = aliased(Deal, page_rows(filters, shape).subquery("picked"))
    page = select(*deal_columns(deal)).join(Hotel, Hotel.id == deal.hotel_id).subquery("page")
    in_all = total(filters, count, single_category=single_category)
    return with_prices_as_text(with_total(page, in_all, ordering(shape.sort, page.c)))


def sort_value(deal: DealResponse, field: str) -> Any:
    """Return the value of a sort field. Prices are converted from text to `Decimal`."""
    if field == "price_per_night":
        return Decimal(deal["price_per_night"])
    return {**deal}[field]


_ONE = with_prices_as_text(
    select(NO_TOTAL, *deal_columns(Deal))
    .join(Hotel, Hotel.id == Deal.hotel_id)
    .where(Deal.id == bindparam("deal_id"))
)


def _statistics(counts: Any, sums: Any) -> AnySelect:
    deal_count = cast(func.sum(counts), BigInteger)
    average = cast(func.round(func.sum(sums) / func.sum(counts), 2), Text)
    return (
        select(Hotel.city, average, deal_count)
        .group_by(Hotel.city)
        .having(func.sum(counts) > 0)
        .order_by(deal_count.desc(), Hotel.city.collate("C"))
    )


_STATISTICS = {
    False: _statistics(Hotel.deal_count, Hotel.price_sum),
    True: _statistics(Hotel.available_count, Hotel.available_price_sum),
}
