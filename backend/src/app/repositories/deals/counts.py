"""How many deals of some hotels are between two prices, without looking at those deals.

Each hotel knows how many of its deals are below each of 64 round prices (docs/adr/0010). What is
between a bound and the round price below it is counted, from one index.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, cast, func, literal, select

from app.models import Deal, Hotel
from app.models.catalog import MONEY

# Deals on a page, about.
_PAGE = 20

PRICE_BOUNDS = frozenset({"price_min", "price_max"})


def count_by_price(
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


def many_between(bounds: frozenset[str]) -> ColumnElement[bool]:
    """Whether a hotel has its first page of deals between the bounds sooner by walking its deals.

    With `m` of its `n` deals between them, walking passes some `PAGE * n / m` deals, and an index
    on the price finds all `m`, to be sorted. `m` is taken between round prices.
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
