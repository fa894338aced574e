"""SQL conditions and counts for the filters of `GET /deals`.

For many filters, the total is the sum of counts stored per hotel or category (docs/adr/0002,
docs/adr/0010). This sum is fast, because hotels and categories are far fewer than deals.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal,
    select,
    tablesample,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from app.models import Category, Deal, Hotel, category_totals, deal_categories
from app.repositories.deals.counts import PRICE_BOUNDS, count_by_price
from app.repositories.hotels import read
from app.repositories.pagination import NO_TOTAL, count_rows

# An estimated count samples about this many deals.
SAMPLE_SIZE = 10_000

_wanted_names = select(func.lower_case(func.unnest(bindparam("category", type_=ARRAY(Text)))))


def wanted_categories() -> ColumnElement[bool]:
    """Return an SQL condition that selects the categories named by the filter `category`."""
    return Category.name.in_(_wanted_names)


_wanted_ids = select(Category.id).where(wanted_categories())


# Each filter's SQL condition. The condition's bound parameter has the name of the filter.
_CONDITIONS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "price_min": lambda deal: deal.price_per_night >= bindparam("price_min"),
    "price_max": lambda deal: deal.price_per_night <= bindparam("price_max"),
    "category": lambda deal: (
        exists()
        .where(deal_categories.c.deal_id == deal.id)
        .where(deal_categories.c.category_id.in_(_wanted_ids))
    ),
    "hotel_id": lambda deal: deal.hotel_id == bindparam("hotel_id"),
    "room_type": lambda deal: deal.room_type == bindparam("room_type"),
    "available_only": lambda deal: deal.is_available,
    "min_discount": lambda deal: deal.discount_percent >= bindparam("min_discount"),
    "checkin_from": lambda deal: deal.checkin_date >= bindparam("checkin_from"),
    "checkin_to": lambda deal: deal.checkin_date <= bindparam("checkin_to"),
}
_COUNTED_BY_HOTEL = frozenset(read.CONDITIONS) | {"hotel_id", "available_only"}


def conditions(filters: Iterable[str], deal: Any = Deal) -> list[ColumnElement[bool]]:
    """Return SQL conditions on `deal`. All filters on hotels form one condition on `hotel_id`."""
    names = frozenset(filters)
    on_deals = [_CONDITIONS[name](deal) for name in sorted(names) if name in _CONDITIONS]
    if on_hotels := read.conditions(names):
        on_deals.append(deal.hotel_id.in_(select(Hotel.id).where(*on_hotels)))
    return on_deals


def bind_parameters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert filter values to the bound parameters of their conditions."""
    parameters = {name: value for name, value in filters.items() if name != "available_only"}
    if "q" in parameters:
        parameters["q"] = read.prefix_query(parameters["q"])
    return parameters


def total(filters: frozenset[str], count: str, *, single_category: bool) -> ColumnElement[Any]:
    """Return an SQL expression that counts the matching deals, or null if `count` is "none"."""
    if count == "none":
        return NO_TOTAL
    if filters <= _COUNTED_BY_HOTEL:
        return _by_hotel(filters)
    if filters == {"category"} and single_category:
        return _by_category()
    if count == "estimated":
        return _by_sample(filters)
    if filters <= _COUNTED_BY_HOTEL | PRICE_BOUNDS:
        return count_by_price(filters, _on_hotels(filters))
    return count_rows(Deal, conditions(filters))


def _on_hotels(filters: frozenset[str]) -> list[ColumnElement[bool]]:
    on_hotels = read.conditions(filters)
    if "hotel_id" in filters:
        on_hotels.append(Hotel.id == bindparam("hotel_id"))
    return on_hotels


def _by_hotel(filters: frozenset[str]) -> ColumnElement[Any]:
    counts = Hotel.available_count if "available_only" in filters else Hotel.deal_count
    found = select(func.coalesce(func.sum(counts), 0)).where(*_on_hotels(filters)).scalar_subquery()
    return cast(found, BigInteger)


def _by_category() -> ColumnElement[Any]:
    found = (
        select(func.coalesce(func.sum(category_totals.c.deal_count), 0))
        .where(category_totals.c.category_id.in_(_wanted_ids))
        .scalar_subquery()
    )
    return cast(found, BigInteger)


def _by_sample(filters: frozenset[str]) -> ColumnElement[Any]:
    """Return an SQL expression that estimates the count from a sample of about `SAMPLE_SIZE` deals.

    Every call samples the same random blocks (REPEATABLE), so a client that repeats a request gets
    the same count. If the table has at most `SAMPLE_SIZE` deals, all are read and the count is
    exact.
    """
    share = 100.0 * SAMPLE_SIZE / func.greatest(1, func.sum(Hotel.deal_count))
    percentage = select(cast(func.least(100, share), Numeric)).scalar_subquery()
    sample = aliased(Deal, tablesample(Deal.__table__, func.system(percentage), seed=literal(1)))
    found = count_rows(sample, conditions(filters, sample))
    return cast(func.round(found * 100 / percentage), BigInteger)
