"""Reading deals: hot, so each statement is built once per combination of filters, and bound."""

from collections.abc import Mapping
from decimal import Decimal
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
from app.schemas.deals import CityStatsResponse, DealResponse


class DealReadRepository:
    """The deals in SQL."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, list[DealResponse]]:
        """A page of deals and how many there are in all, in one round trip.

        Args:
            filters: values by the names of `DealFilters`' fields; absent ones do not filter.
            place: which page, in which order.
            count: "exact", "estimated" or "none".

        Returns:
            The total, None for "none", and the deals with their categories and hotels, one more
            than the limit when more come.
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
        """Return a deal."""
        row = await self._reader.row(_ONE, {"deal_id": deal_id})
        return deal_response(row) if row else None

    async def statistics_by_city(self, *, available_only: bool) -> list[CityStatsResponse]:
        """Return the cities that have deals, most deals first."""
        return [
            {"city": city, "avg_price": average, "deal_count": count}
            for city, average, count in await self._reader.rows(_STATISTICS[available_only])
        ]


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


def deal_response(row: AnyRow) -> DealResponse:
    """Shape a row of a null or total and `deal_columns`."""
    return {
        "id": row[1],
        "external_id": row[2],
        "hotel_id": row[3],
        "room_type": row[4],
        "star_rating": row[5],
        "price_per_night": str(row[6]),
        "original_price": str(row[7]),
        "discount_percent": row[8],
        "checkin_date": row[9],
        "checkout_date": row[10],
        "is_available": row[11],
        "categories": row[12],
        "version": row[13],
        "created_at": row[14],
        "updated_at": row[15],
        "hotel": {
            "id": row[16],
            "name": row[17],
            "city": row[18],
            "country": row[19],
            "phone": row[20],
            "avg_star_rating": row[21],
        },
    }


def sort_value(deal: DealResponse, field: str) -> Any:
    """Return what the database sorts a deal by; in a response, prices are text."""
    if field == "price_per_night":
        return Decimal(deal["price_per_night"])
    return {**deal}[field]


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
