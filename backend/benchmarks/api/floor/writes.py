"""The floor's routes that write, each by one autocommit statement except `create_by_two`."""

from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg
import orjson

from benchmarks.api.floor import sql
from benchmarks.api.floor.http import Answer, answer, tagged
from benchmarks.api.floor.reads import deal

_SENT_CATEGORIES = """
    ARRAY(
        SELECT DISTINCT lower_case(btrim(name)) COLLATE "C" AS name
        FROM unnest($10::text[]) AS name ORDER BY name
    )"""
_NEW_AVERAGE = """
    round((hotels.star_sum + deal.star_rating)::numeric / (hotels.deal_count + 1), 2)::float8"""
_INSERT_DEAL = f"""
    WITH hotels AS (
        SELECT * FROM hotels WHERE id = $1 FOR KEY SHARE
    ), deal AS (
        INSERT INTO deals (
            hotel_id, room_type, star_rating, price_per_night, original_price,
            discount_percent, checkin_date, checkout_date, is_available
        )
        SELECT id, $2, $3, $4, $5, $6, $7, $8, $9 FROM hotels
        RETURNING *
    ){{linked}}
    SELECT {sql.shown(_NEW_AVERAGE, _SENT_CATEGORIES)} FROM deal CROSS JOIN hotels
"""
_LINKED = """, linked AS (
        INSERT INTO deal_categories (deal_id, category_id)
        SELECT deal.id, category_id FROM deal, ensure_categories($10) AS category_id
    )"""
_INSERT = _INSERT_DEAL.format(linked=_LINKED)
_INSERT_FIRST = _INSERT_DEAL.format(linked="")
_INSERT_LINKS = """
    INSERT INTO deal_categories (deal_id, category_id)
    SELECT $1, category_id FROM ensure_categories($2) AS category_id
"""
_UPDATE = f"""
    WITH deal AS (
        UPDATE deals SET price_per_night = $2, version_id = version_id + 1 WHERE id = $1
        RETURNING *
    )
    SELECT {sql.shown(sql.AVERAGE)} FROM deal JOIN hotels ON hotels.id = deal.hotel_id
"""
_INSERT_MANY = """
    WITH given AS MATERIALIZED (
        SELECT nextval(pg_get_serial_sequence('deals', 'id')) AS id, item.*
        FROM ROWS FROM (
            jsonb_to_recordset($1) AS (
                hotel_id bigint, room_type text, star_rating integer, price_per_night numeric,
                original_price numeric, discount_percent integer, checkin_date date,
                checkout_date date, is_available boolean, categories text[]
            )
        ) WITH ORDINALITY AS item
    ), held AS MATERIALIZED (
        SELECT id FROM hotels WHERE id IN (SELECT hotel_id FROM given) ORDER BY id FOR KEY SHARE
    ), added AS (
        INSERT INTO deals (
            id, hotel_id, room_type, star_rating, price_per_night, original_price,
            discount_percent, checkin_date, checkout_date, is_available
        )
        SELECT given.id, hotel_id, room_type, star_rating, price_per_night, original_price,
            discount_percent, checkin_date, checkout_date, is_available
        FROM given JOIN held ON held.id = hotel_id
    ), linked AS (
        INSERT INTO deal_categories (deal_id, category_id)
        SELECT given.id, categories.id
        FROM given JOIN categories ON categories.name = ANY (given.categories)
    )
    SELECT id FROM given ORDER BY ordinality
"""


class Writes:
    """The write routes, with a connection pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, body: bytes) -> Answer:
        """Create a deal with its categories in one statement."""
        row = await self._pool.fetchrow(_INSERT, *_values(body))
        return _created(row)

    async def create_by_two(self, body: bytes) -> Answer:
        """Create a deal and then its categories, as two statements in a transaction."""
        values = _values(body)
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_INSERT_FIRST, *values)
            if row is not None:
                await connection.execute(_INSERT_LINKS, row[0], values[-1])
        return _created(row)

    async def change(self, deal_id: int, body: bytes) -> Answer:
        """Change the price of a deal."""
        price = Decimal(orjson.loads(body)["price_per_night"])
        row = await self._pool.fetchrow(_UPDATE, deal_id, price)
        return tagged(deal(row)) if row is not None else (404, [], b"")

    async def create_many(self, body: bytes) -> Answer:
        """Create many deals."""
        rows = await self._pool.fetch(_INSERT_MANY, body.decode())
        results: list[dict[str, Any]] = [
            {"index": index, "status": "created", "id": row[0], "error": None}
            for index, row in enumerate(rows)
        ]
        return answer({"results": results})


def _values(body: bytes) -> list[Any]:
    given = orjson.loads(body)
    return [
        given["hotel_id"],
        given["room_type"],
        given["star_rating"],
        Decimal(given["price_per_night"]),
        Decimal(given["original_price"]),
        given["discount_percent"],
        date.fromisoformat(given["checkin_date"]),
        date.fromisoformat(given["checkout_date"]),
        given["is_available"],
        given["categories"],
    ]


def _created(row: "asyncpg.Record | None") -> Answer:
    if row is None:
        return 404, [], b""
    return tagged(deal(row), location=f"/deals/{row[0]}")
