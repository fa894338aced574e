"""The service's SQL statements, written by hand."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

Start = Literal["first", "offset", "after"]

_CATEGORIES = """
    ARRAY(
        SELECT categories.name
        FROM deal_categories JOIN categories ON categories.id = deal_categories.category_id
        WHERE deal_categories.deal_id = deal.id ORDER BY categories.name COLLATE "C"
    )"""
AVERAGE = "round(hotels.star_rating, 2)::float8"


def shown(average: str, categories: str = _CATEGORIES) -> str:
    """Return the select list of a deal over `deal` and `hotels`, with prices as text."""
    return f"""
    deal.id, deal.external_id, deal.hotel_id, deal.room_type, deal.star_rating,
    deal.price_per_night::text, deal.original_price::text, deal.discount_percent,
    deal.checkin_date, deal.checkout_date, deal.is_available, {categories},
    deal.version_id, deal.created_at, deal.updated_at,
    hotels.id, hotels.name, hotels.city, hotels.country, hotels.phone, {average}"""


ONE_DEAL = f"""
    SELECT {shown(AVERAGE)}
    FROM deals AS deal JOIN hotels ON hotels.id = deal.hotel_id WHERE deal.id = $1
"""
STATISTICS = """
    SELECT city, round(sum(price_sum) / sum(deal_count), 2)::text, sum(deal_count)::bigint
    FROM hotels GROUP BY city HAVING sum(deal_count) > 0
    ORDER BY sum(deal_count) DESC, city COLLATE "C"
"""

_BY_HOTEL = "SELECT coalesce(sum(deal_count), 0)::bigint FROM hotels"
_BY_CATEGORY = """
    SELECT coalesce(sum(deal_count), 0)::bigint FROM category_totals
    WHERE category_id IN (SELECT id FROM categories WHERE name = lower_case($1))
"""
# Maps filters to conditions. `{}` is the number of the parameter.
_ON_HOTELS = {
    "city": "hotels.city_folded = fold_case(${})",
    "min_stars": "hotels.star_rating >= ${}",
}
_ON_DEALS = {"price_min": "price_per_night >= ${}", "price_max": "price_per_night <= ${}"}


@lru_cache(maxsize=256)
def hotels_page(start: Start, rows: int) -> str:
    """Return the statement of a page of hotels. Its only parameter is the offset, if any."""
    offset = "OFFSET $1" if start == "offset" else ""
    return f"""
        SELECT page.*, counted.total
        FROM (SELECT (SELECT count(*) FROM hotels) AS total) AS counted
        LEFT JOIN (
            SELECT id, name, city, country, phone, {AVERAGE}, deal_count, version_id,
                created_at, updated_at
            FROM hotels ORDER BY id LIMIT {rows} {offset}
        ) AS page ON true ORDER BY page.id
    """


@lru_cache(maxsize=256)
def deals_page(
    filters: tuple[str, ...], sort: str, start: Start, rows: int, *, counted: bool
) -> str:
    """Return the statement of a page of deals.

    Its parameters are the filters, followed by the offset or the last id before the page, if any.
    Filters and cursors require the order of `id`. The limit is a literal, because PostgreSQL plans
    each execution again for a bound limit.
    """
    fields = [*sort.split(","), *(["id"] if sort.lstrip("-") != "id" else [])]
    order = [f"{field[1:]} DESC" if field[0] == "-" else field for field in fields]
    picked = _picked(filters, ", ".join(order), start, rows)
    source = f"({picked}) AS deal JOIN hotels ON hotels.id = deal.hotel_id"
    if counted:
        # The left join returns the total even for a page past the end.
        source = f"(SELECT ({_total(filters)}) AS total) AS counted LEFT JOIN ({source}) ON true"
    return f"""
        SELECT {shown(AVERAGE)}, {"counted.total" if counted else "NULL::bigint"}
        FROM {source} ORDER BY {", ".join(f"deal.{field}" for field in order)}
    """


def _picked(filters: tuple[str, ...], order: str, start: Start, rows: int) -> str:
    """Return the query of the page's deals, merged from those of each hotel or category."""
    number = len(filters) + 1
    offset = f"OFFSET ${number}" if start == "offset" else ""
    reach = f"{rows} + ${number}" if start == "offset" else f"{rows}"
    on_hotels, on_deals = _conditions(_ON_HOTELS, filters), _conditions(_ON_DEALS, filters)
    if start == "after":
        on_deals.append(f"deals.id > ${number}")
    where = f"WHERE {' AND '.join(['true', *on_deals])}"
    if "category" in filters:
        return f"""
            SELECT part.* FROM categories CROSS JOIN LATERAL (
                SELECT deals.* FROM deals JOIN deal_categories ON deal_id = deals.id
                {where} AND category_id = categories.id ORDER BY deal_id LIMIT {reach}
            ) AS part
            WHERE categories.name = lower_case($1) ORDER BY part.id LIMIT {rows} {offset}
        """
    if on_hotels:
        return f"""
            SELECT part.* FROM hotels CROSS JOIN LATERAL (
                SELECT * FROM deals {where} AND hotel_id = hotels.id ORDER BY id LIMIT {reach}
            ) AS part
            WHERE {" AND ".join(on_hotels)} ORDER BY part.id LIMIT {rows} {offset}
        """
    return f"SELECT * FROM deals {where} ORDER BY {order} LIMIT {rows} {offset}"


def _total(filters: tuple[str, ...]) -> str:
    if filters == ("category",):
        return _BY_CATEGORY
    if not filters:
        return _BY_HOTEL
    on_hotels, on_deals = _conditions(_ON_HOTELS, filters), _conditions(_ON_DEALS, filters)
    if on_hotels:
        on_deals.append(f"hotel_id IN (SELECT id FROM hotels WHERE {' AND '.join(on_hotels)})")
    return f"SELECT count(*) FROM deals WHERE {' AND '.join(on_deals)}"


def _conditions(known: Mapping[str, str], filters: tuple[str, ...]) -> list[str]:
    numbered = enumerate(filters, 1)
    return [known[name].format(number) for number, name in numbered if name in known]
