"""Reading deals: hot, so each statement is built once per combination of filters, and bound."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from app.db.reader import AnyRow, Reader
from app.models import Category, Deal, Hotel, deal_categories
from app.repositories.categories import BY_NAME
from app.repositories.deals.filters import bind_parameters, total
from app.repositories.deals.page_plan import page_rows
from app.repositories.hotels import read
from app.repositories.pagination import (
    NO_TOTAL,
    AnySelect,
    PagePosition,
    PageStatementKey,
    ordering,
    split_total,
    with_total,
)

# Where in a row of `page` the fields are that it can be sorted by.
SORT_COLUMNS = {
    "id": 1,
    "star_rating": 5,
    "price_per_night": 6,
    "discount_percent": 8,
    "checkin_date": 9,
    "created_at": 14,
}


class DealReadRepository:
    """The deals in SQL."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, Sequence[AnyRow]]:
        """A page of deals and how many there are in all, in one round trip.

        Args:
            filters: values by the names of `DealFilters`' fields; absent ones do not filter.
            place: which page, in which order.
            count: "exact", "estimated" or "none".

        Returns:
            The total, null for "none", and rows of the total, the deal's 15 columns (categories
            among them), and its hotel's.
        """
        statement = _page_statement(
            frozenset(filters),
            place.shape,
            count,
            single_category=len(filters.get("category", ())) == 1,
        )
        parameters = {**bind_parameters(filters), **place.parameters}
        return split_total(await self._reader.rows(statement, parameters))

    async def get(self, deal_id: int) -> AnyRow | None:
        """The row of a deal, shaped as a page's rows with a null total."""
        return await self._reader.row(_ONE, {"deal_id": deal_id})

    async def statistics_by_city(self, *, available_only: bool) -> Sequence[AnyRow]:
        """Rows of `(city, average price as text, deal count)`, most deals first."""
        return await self._reader.rows(_STATISTICS[available_only])


@lru_cache(maxsize=128)
def _page_statement(
    filters: frozenset[str], shape: PageStatementKey, count: str, *, single_category: bool
) -> AnySelect:
    """Pick the deals of the page by index, then join hotel and categories to those few."""
    deal = aliased(Deal, page_rows(filters, shape).subquery("picked"))
    page = select(*deal_columns(deal)).join(Hotel, Hotel.id == deal.hotel_id).subquery("page")
    in_all = total(filters, count, single_category=single_category)
    return with_total(page, in_all, ordering(shape.sort, page.c))


def deal_columns(
    deal: Any, average: ColumnElement[Any] = read.AVERAGE_STARS
) -> list[ColumnElement[Any]]:
    """What a deal is shown with: its columns, its categories, its hotel with its average stars."""
    names = (
        select(Category.name)
        .join(deal_categories, deal_categories.c.category_id == Category.id)
        .where(deal_categories.c.deal_id == deal.id)
        .order_by(BY_NAME)
        .scalar_subquery()
    )
    return [
        deal.id,
        deal.external_id,
        deal.hotel_id,
        deal.room_type,
        deal.star_rating,
        deal.price_per_night,
        deal.original_price,
        deal.discount_percent,
        deal.checkin_date,
        deal.checkout_date,
        deal.is_available,
        func.array(names, type_=ARRAY(Text)).label("categories"),
        deal.version_id,
        deal.created_at,
        deal.updated_at,
        # Two tables have an `id`; in a subquery each column needs a name of its own.
        *(column.label(f"hotel_{n}") for n, column in enumerate((*read.IDENTITY, average))),
    ]


_ONE = (
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
