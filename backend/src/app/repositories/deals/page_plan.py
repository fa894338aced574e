"""The choice of index scans that return the deals of a page in order.

If a page is sorted by `id` and filtered by city, country, search words or category, the first deals
of each matching hotel or category are merged. The merge reads a few rows per hotel or category,
however many deals match. A scan of all deals by id would read more rows the fewer deals match, and
the whole table if no deal matches. For any other page, PostgreSQL scans an index over all deals
that has the order of the page.
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

# Price expressions that no index contains, which forces scans in order of `id`. A generic plan does
# not know the price bounds. For two bounds on one expression, PostgreSQL would assume that few rows
# match, and would sort half of a hotel's deals for one page. Therefore the two bounds use different
# expressions.
_NO_INDEX = {
    "price_min": SimpleNamespace(price_per_night=Deal.price_per_night + 0),
    "price_max": SimpleNamespace(price_per_night=Deal.price_per_night - 0),
}

# Filters that few hotels match. `min_stars` is missing, because many hotels match it.
_FEW_HOTELS = frozenset({"city", "country", "q"})


def page_rows(filters: frozenset[str], shape: PageStatementKey) -> AnySelect:
    """Build a statement that selects the page's deals in order, and one deal more."""
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
        # Repeat the keyset condition for `deals.id`. PostgreSQL does not derive an inequality on
        # `deals.id` from an inequality on `deal_id`, and would perhaps scan `deals` from the first
        # row.
        [after] = keyset_conditions(shape, Deal.__table__.c)
        on_deals += after
    of_one = (
        select(Deal)
        .join(deal_categories, links.deal_id == Deal.id)
        .where(links.category_id == Category.id, *on_deals)
        .correlate(Category)
    )

    def of_all(part: NamedFromClause) -> AnySelect:
        # Remove duplicates, because a deal may be in several of the categories.
        parts = select(*part.c).join_from(Category, part, true()).where(wanted_categories())
        return parts.ext(distinct_on(part.c.id))

    return merge_index_scans([of_one], {"id": links.deal_id}, of_all, shape)
