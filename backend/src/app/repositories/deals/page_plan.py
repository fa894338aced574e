"""The plan that finds the deals of a page, through an index in the page's order.

In the order of `id`, a page is merged from the first deals of each matching hotel or category. That
reads a few rows for each of them, independent of the number of deals. A scan of all deals by id
would read more the fewer deals pass, and the whole table if none passes. Each other order has one
index over all deals.
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

# The price as expressions without an index, for scans of deals in the order of their ids. A generic
# plan knows no prices, and PostgreSQL assumes that two bounds of one expression select few rows. It
# would then sort half a hotel for one page. Therefore each bound uses a different expression.
_NO_INDEX = {
    "price_min": SimpleNamespace(price_per_night=Deal.price_per_night + 0),
    "price_max": SimpleNamespace(price_per_night=Deal.price_per_night - 0),
}

# Filters that few hotels pass. `min_stars` is not among them, because many hotels pass it.
_FEW_HOTELS = frozenset({"city", "country", "q"})


def page_rows(filters: frozenset[str], shape: PageStatementKey) -> AnySelect:
    """Return a statement of the page's deals in order, with one row more than the limit."""
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
        # A deal's id equals its links' deal_id. PostgreSQL derives conditions from that for equal
        # ids but not for greater ones. Without this second condition, it may read the deals from
        # the beginning.
        [after] = keyset_conditions(shape, Deal.__table__.c)
        on_deals += after
    of_one = (
        select(Deal)
        .join(deal_categories, links.deal_id == Deal.id)
        .where(links.category_id == Category.id, *on_deals)
        .correlate(Category)
    )

    def of_all(part: NamedFromClause) -> AnySelect:
        # Removes duplicates, because a deal may be in several of the categories.
        parts = select(*part.c).join_from(Category, part, true()).where(wanted_categories())
        return parts.ext(distinct_on(part.c.id))

    return merge_index_scans([of_one], {"id": links.deal_id}, of_all, shape)
