"""Counts of deals in a price range, computed without reading most of those deals.

Each hotel stores how many of its deals are below each of 64 round prices (docs/adr/0010). An index
scan counts only the deals between a price bound and the next lower round price.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, cast, func, literal, select

from app.models import Deal, Hotel
from app.models.catalog import MONEY

# The number of deals on a typical page, for the cost estimate.
_PAGE = 20

PRICE_BOUNDS = frozenset({"price_min", "price_max"})


def count_by_price(
    filters: frozenset[str], on_hotels: Sequence[ColumnElement[bool]]
) -> ColumnElement[Any]:
    """Return an SQL expression for the count of deals that match `filters`.

    Only price bounds and `available_only` are read from `filters`. The conditions `on_hotels`
    replace all filters on hotels.
    """
    available = "available_only" in filters
    passing: Any = Hotel.available_count if available else Hotel.deal_count
    if "price_max" in filters:
        passing = _up_to("price_max", available=available, inclusive=True)
    if "price_min" in filters:
        passing -= _up_to("price_min", available=available, inclusive=False)
    found = select(func.coalesce(func.sum(passing), 0)).where(*on_hotels).scalar_subquery()
    return cast(found, BigInteger)


def many_between(bounds: frozenset[str]) -> ColumnElement[bool]:
    """Return an SQL condition for whether a scan by id is cheaper than a scan by price.

    If `m` of the hotel's `n` deals are between the bounds, a scan by id reads about `_PAGE * n / m`
    deals for the first page. A scan by price reads all `m` deals and sorts them. `m` is estimated
    from the stored counts below round prices.
    """
    between: Any = Hotel.deal_count
    if "price_max" in bounds:
        next_step = func.price_step(bindparam("price_max", type_=MONEY)) + 1
        between = func.coalesce(Hotel.prices_below[next_step], between)
    if "price_min" in bounds:
        step = func.price_step(bindparam("price_min", type_=MONEY))
        between -= func.coalesce(Hotel.prices_below[step], literal(0))
    found: ColumnElement[int] = cast(between, BigInteger)
    return found * found > Hotel.deal_count * _PAGE


def _up_to(name: str, *, available: bool, inclusive: bool) -> ColumnElement[Any]:
    """Return an SQL expression for a hotel's deal count below the price bound `name`.

    If `inclusive` is true, the count includes deals whose price equals the bound.
    """
    bound = bindparam(name, type_=MONEY)
    start = func.price_step_start(bound)
    below = Hotel.available_prices_below if available else Hotel.prices_below
    price = Deal.price_per_night
    beyond = (
        select(func.count())
        .select_from(Deal)
        .where(Deal.hotel_id == Hotel.id, price >= start)
        # If an exclusive bound is a round price, `start < bound` is false and no deal is read.
        .where(*((price <= bound,) if inclusive else (price < bound, start < bound)))
        .where(*((Deal.is_available,) if available else ()))
        .correlate(Hotel)
        .scalar_subquery()
    )
    return func.coalesce(below[func.price_step(bound)], literal(0)) + beyond
