"""Queries on a loaded database."""

from typing import Any

from sqlalchemy import text

from app.db.session import Database

# Select hotels and categories with wrong derived numbers. A correct database has none.
_DRIFT = """
SELECT hotels.id FROM hotels LEFT JOIN (
    SELECT hotel_id, count(*) AS deals, count(*) FILTER (WHERE is_available) AS available,
        sum(star_rating) AS stars, sum(price_per_night) AS price,
        sum(price_per_night) FILTER (WHERE is_available) AS available_price
    FROM deals GROUP BY hotel_id
) AS numbers ON hotel_id = hotels.id
WHERE (deal_count, available_count, star_sum, price_sum, available_price_sum) IS DISTINCT FROM (
    coalesce(deals, 0), coalesce(available, 0), coalesce(stars, 0), coalesce(price, 0),
    coalesce(available_price, 0)
)
UNION ALL
SELECT category_id FROM (
    SELECT category_id, sum(deal_count) AS total FROM category_totals GROUP BY category_id
) AS totals
WHERE total <> (SELECT count(*) FROM deal_categories WHERE category_id = totals.category_id)
"""

_CONTENT = """
SELECT external_id, hotels.name, city, country, phone, deals.star_rating, room_type,
    price_per_night, original_price, discount_percent, checkin_date, checkout_date, is_available,
    deals.created_at,
    ARRAY(
        SELECT categories.name FROM deal_categories JOIN categories ON categories.id = category_id
        WHERE deal_id = deals.id ORDER BY categories.name COLLATE "C"
    ) AS categories
FROM deals JOIN hotels ON hotels.id = hotel_id ORDER BY external_id
"""


async def fetch_rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await database.reader.rows(text(statement))]


async def fetch_catalog_rows(database: Database) -> list[list[tuple[Any, ...]]]:
    """Return all rows that a client could have changed: hotels, deals and categories."""
    return [
        await fetch_rows(database, f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("hotels", "deals", "categories", "deal_categories")
    ]


async def content(database: Database) -> list[tuple[Any, ...]]:
    """Return all loaded values without generated ones, and check the derived numbers."""
    assert await fetch_rows(database, _DRIFT) == []
    return await fetch_rows(database, _CONTENT)


async def ids(database: Database) -> list[int]:
    """Return the stored external ids."""
    return [row[0] for row in await content(database)]


async def execute(database: Database, *statements: str) -> None:
    """Run statements in one transaction."""
    async with database.uow.begin() as session:
        for statement in statements:
            await session.execute(text(statement))
