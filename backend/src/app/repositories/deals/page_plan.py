"""Which deals are on a page: found through an index that has them in the page's order.

In the order of `id` a page is merged from what narrows it: the first deals of each matching hotel,
or of each category. That costs a few rows for each of them, however many deals there are; walking
all deals until enough have passed costs more the fewer pass, and nothing passing costs the table.
Other orders have one index each over all deals.
"""

from types import SimpleNamespace

from sqlalchemy import select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.sql.selectable import NamedFromClause

from app.models import Category, Deal, Hotel, deal_categories
from app.repositories.deals.counts import PRICE_BOUNDS, many_between
from app.repositories.deals.filters import conditions, wanted_categories
from app.repositories.hotels import read
from app.repositories.pagination import (
    AnySelect,
    PageStatementKey,
    apply_page,
    keyset_conditions,
    merge_index_scans,
)

# The price as no index has it, for walking deals in the order of their ids. PostgreSQL, which knows
# no price when it makes a plan for all, takes any two bounds of one expression for narrow ones, and
# would sort half a hotel for a page of it; so it is a different expression for each bound.
_NO_INDEX = {
    "price_min": SimpleNamespace(price_per_night=Deal.price_per_night + 0),
    "price_max": SimpleNamespace(price_per_night=Deal.price_per_night - 0),
}

# Filters that a few hotels pass; `min_stars` alone lets many pass.
_FEW_HOTELS = frozenset({"city", "country", "q"})


def page_rows(filters: frozenset[str], shape: PageStatementKey) -> AnySelect:
    """The deals of the page, one more than its limit, in its order."""
    if shape.sort.removeprefix("-") == "id":
        if filters & _FEW_HOTELS:
            return _of_hotels(filters, shape)
        if "category" in filters and "hotel_id" not in filters:
            return _of_categories(filters, shape)
    return apply_page(select(Deal).where(*conditions(filters)), Deal.__table__.c, shape)


def _of_hotels(filters: frozenset[str], shape: PageStatementKey) -> AnySelect:
    prices = filters & PRICE_BOUNDS
    on_deals = conditions(filters - set(read.CONDITIONS) - prices)
    of_one = select(Deal).where(Deal.hotel_id == Hotel.id, *on_deals).correlate(Hotel)
    ways = [of_one]
    if prices:
        many = many_between(prices)
        walked = [each for name in prices for each in conditions({name}, _NO_INDEX[name])]
        ways = [
            of_one.where(many, *walked),
            of_one.where(~many, *conditions(prices)),
        ]

    def of_all(part: NamedFromClause) -> AnySelect:
        return select(*part.c).join_from(Hotel, part, true()).where(*read.conditions(filters))

    return merge_index_scans(ways, Deal.__table__.c, of_all, shape)


def _of_categories(filters: frozenset[str], shape: PageStatementKey) -> AnySelect:
    links = deal_categories.c
    on_deals = conditions(filters - {"category"})
    if shape.start == "after":
        # The deals' ids are the links', but PostgreSQL concludes that of equal ids only, not of
        # larger ones: told of one of the two, it may read the other from the beginning.
        [after] = keyset_conditions(shape, Deal.__table__.c)
        on_deals += after
    of_one = (
        select(Deal)
        .join(deal_categories, links.deal_id == Deal.id)
        .where(links.category_id == Category.id, *on_deals)
        .correlate(Category)
    )

    def of_all(part: NamedFromClause) -> AnySelect:
        # A deal may be in several of the categories.
        parts = select(*part.c).join_from(Category, part, true()).where(wanted_categories())
        return parts.ext(distinct_on(part.c.id))

    return merge_index_scans([of_one], {"id": links.deal_id}, of_all, shape)
