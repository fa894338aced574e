"""How many deals of some hotels are between two prices, without looking at those deals.

Each hotel knows how many of its deals are below each of 64 round prices (docs/adr/0010). What is
between a bound and the round price below it is counted, from one index.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, cast, func, literal, select

from app.models import Deal, Hotel
from app.models.catalog import MONEY

PRICE_BOUNDS = frozenset({"price_min", "price_max"})


def by_price(
    filters: frozenset[str], on_hotels: Sequence[ColumnElement[bool]]
) -> ColumnElement[Any]:
    """The number of deals of the hotels `on_hotels` that pass the price bounds among `filters`.

    Of other filters only `available_only` is looked at here.
    """
    available = "available_only" in filters
    passing: Any = Hotel.available_count if available else Hotel.deal_count
    if "price_max" in filters:
        passing = _up_to("price_max", available=available, inclusive=True)
    if "price_min" in filters:
        passing -= _up_to("price_min", available=available, inclusive=False)
    found = select(func.coalesce(func.sum(passing), 0)).where(*on_hotels).scalar_subquery()
    return cast(found, BigInteger)


def _up_to(name: str, *, available: bool, inclusive: bool) -> ColumnElement[Any]:
    """How many deals of the hotel of a row are below the bound `name`, or at it too."""
    bound = bindparam(name, type_=MONEY)
    start = func.price_step_start(bound)
    below = Hotel.available_prices_below if available else Hotel.prices_below
    price = Deal.price_per_night
    beyond = (
        select(func.count())
        .select_from(Deal)
        .where(Deal.hotel_id == Hotel.id, price >= start)
        # The bounds' own comparison is looked at once: at a round price nothing is read.
        .where(*((price <= bound,) if inclusive else (price < bound, start < bound)))
        .where(*((Deal.is_available,) if available else ()))
        .correlate(Hotel)
        .scalar_subquery()
    )
    return func.coalesce(below[func.price_step(bound)], literal(0)) + beyond
