"""Reads cost by the rows they return, not by the size of the table.

The tests compare plans and buffers at two sizes. PostgreSQL plans a prepared statement for its
values five times, and then keeps one plan for all values if that looks no worse. The tests look at
the plan that remains.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias, cast

import asyncpg
import pytest
from sqlalchemy import URL, Executable
from sqlalchemy.ext.asyncio import AsyncSession
from tests.support.databases import dsn, temporary_database

from app.db.reader import Reader, prepared
from app.repositories.categories import CategoryRepository
from app.repositories.deals.read import DealReadRepository
from app.repositories.hotels.read import HotelReadRepository
from app.repositories.pagination import PagePosition

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL, LARGE = 8_000, 80_000
MIDDLE = SMALL // 2

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Read = Callable[[Reader], Coroutine[Any, Any, Any]]

INSERT_HOTELS = """
    INSERT INTO hotels (name, city, country, phone)
    SELECT 'Hotel ' || n, 'City ' || n % 10, 'Country ' || n % 3, '+' || n
    FROM generate_series(1, 40) AS n
"""
# Most deals have the first category, very few have the second.
INSERT_CATEGORIES = "INSERT INTO categories (name) VALUES ('common'), ('other'), ('rare')"
INSERT_DEALS = """
    INSERT INTO deals (id, hotel_id, room_type, star_rating, price_per_night, original_price,
        discount_percent, checkin_date, checkout_date, is_available)
    OVERRIDING SYSTEM VALUE
    SELECT n, 1 + n * 7919 % 40, (ARRAY['suite', 'single', 'double'])[1 + n % 3], 1 + n * 31 % 5,
        20 + n * 7907 % 48000 / 100.0, 600, n * 17 % 61, date '2027-01-01' + n * 13 % 300,
        date '2028-01-01', n % 5 > 0
    FROM generate_series($1::int, $2::int) AS n
"""
INSERT_DEAL_CATEGORIES = """
    INSERT INTO deal_categories (deal_id, category_id)
    SELECT n, CASE WHEN n <= 30 THEN 3 WHEN n % 3 = 0 THEN 2 ELSE 1 END
    FROM generate_series($1::int, $2::int) AS n
"""


def read_page(filters: Mapping[str, Any], place: PagePosition, count: str = "exact") -> Read:
    return lambda reader: DealReadRepository(reader).page(filters, place, count)


def first_page(sort: str = "id", **filters: Any) -> Read:
    return read_page(filters, PagePosition(sort, 0, None, 20))


def page_after(sort: str, *after: Any, **filters: Any) -> Read:
    return read_page(filters, PagePosition(sort, None, after, 20), "none")


READS: dict[str, Read] = {
    "first page": first_page(),
    "last first": first_page("-id"),
    "behind a cursor": page_after("id", MIDDLE),
    **{
        f"sorted by {direction}{field}": first_page(f"{direction}{field}")
        for direction in ("", "-")
        for field in ("price_per_night", "discount_percent", "star_rating", "checkin_date")
    },
    "price, behind a cursor": page_after("price_per_night", Decimal(200), MIDDLE),
    "-price, behind a cursor": page_after("-price_per_night", Decimal(200), MIDDLE),
    "discount, behind a cursor": page_after("discount_percent", 30, MIDDLE),
    "-discount, behind a cursor": page_after("-discount_percent", 30, MIDDLE),
    "-stars, behind a cursor": page_after("-star_rating", 3, MIDDLE),
    "-checkin, behind a cursor": page_after("-checkin_date", date(2027, 3, 1), MIDDLE),
    "a city": first_page(city="city 3"),
    "a city, behind a cursor": page_after("id", MIDDLE, city="city 3"),
    "a country and stars": first_page(country="country 1", min_stars=Decimal(2)),
    "a city, stars and prices": first_page(
        city="city 3", min_stars=Decimal(2), price_min=Decimal(50), price_max=Decimal(200)
    ),
    "a city and prices, behind a cursor": page_after(
        "id", MIDDLE, city="city 3", price_min=Decimal(50), price_max=Decimal(200)
    ),
    "words of hotels": first_page(q="hotel 1"),
    "words of no hotel": first_page(q="nothing"),
    "stars": first_page(min_stars=Decimal(1)),
    "available": first_page(available_only=True),
    "a hotel": first_page(hotel_id=7),
    "a hotel, behind a cursor": page_after("id", MIDDLE, hotel_id=7),
    "a room type": read_page({"room_type": "suite"}, PagePosition("id", 0, None, 20), "none"),
    "prices": read_page({"price_min": Decimal(50)}, PagePosition("id", 0, None, 20), "none"),
    "a common category": first_page(category=["common"]),
    "a common category, behind a cursor": page_after("id", MIDDLE, category=["common"]),
    "a rare category": first_page(category=["rare"]),
    "two categories": read_page(
        {"category": ["common", "rare"]}, PagePosition("id", 0, None, 20), "none"
    ),
    "one deal": lambda reader: DealReadRepository(reader).get(MIDDLE),
    "statistics": lambda reader: DealReadRepository(reader).statistics_by_city(
        available_only=False
    ),
    "hotels": lambda reader: HotelReadRepository(reader).page(
        {}, PagePosition("id", 0, None, 20), "exact"
    ),
    "categories": lambda reader: CategoryRepository(cast("AsyncSession", reader)).all(),
}


class RecordedError(Exception):
    """A signal that the statement is recorded. No rows follow."""


class RecordingReader:
    """A reader and a session that only record the statement."""

    def __init__(self) -> None:
        self.sql = ""
        self.arguments: list[Any] = []

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> NoReturn:
        self.sql, self.arguments = prepared(statement, parameters or {})
        raise RecordedError

    row = execute = rows


def sql_literal(value: Any) -> str:
    text = "{" + ",".join(f'"{each}"' for each in value) + "}" if isinstance(value, list) else value
    return "'" + str(text).replace("'", "''") + "'"


def sequential_scans(plan: Mapping[str, Any]) -> set[str]:
    """Return the tables that the plan scans sequentially at any depth."""
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(sequential_scans(part) for part in plan.get("Plans", ())))


async def explain_read(connection: Connection, read: Read) -> tuple[set[str], int]:
    """Return the sequentially scanned tables of a read, and how many buffers it touches."""
    recorder = RecordingReader()
    with suppress(RecordedError):
        await read(cast("Reader", recorder))
    await connection.execute(f"PREPARE read AS {recorder.sql}")
    arguments = ", ".join(sql_literal(value) for value in recorder.arguments)
    execute = f"EXECUTE read({arguments})" if arguments else "EXECUTE read"
    for _ in range(6):
        await connection.fetch(execute)
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute}"
    plan = json.loads(await connection.fetchval(explain))[0]["Plan"]
    await connection.execute("DEALLOCATE read")
    return sequential_scans(plan), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def insert_deals(connection: Connection, start: int, end: int) -> None:
    async with connection.transaction():
        await connection.execute(INSERT_DEALS, start, end)
        await connection.execute(INSERT_DEAL_CATEGORIES, start, end)
    await connection.execute("VACUUM ANALYZE")


@pytest.fixture
async def connection(server_url: URL, template: str) -> AsyncIterator[Connection]:
    async with temporary_database(server_url, template) as url:
        connection = await asyncpg.connect(dsn(url), server_settings={"jit": "off"})
        await connection.execute(INSERT_HOTELS)
        await connection.execute(INSERT_CATEGORIES)
        yield connection
        await connection.close()


async def test_reads_larger_table_cost_the_same(connection: Connection) -> None:
    await insert_deals(connection, 1, SMALL)
    small = {name: await explain_read(connection, read) for name, read in READS.items()}
    await insert_deals(connection, SMALL + 1, LARGE)
    large = {name: await explain_read(connection, read) for name, read in READS.items()}

    grown = {
        name: (small[name][1], buffers)
        for name, (_, buffers) in large.items()
        # An index of a larger table is deeper, by a page or two for each look-up.
        if buffers > 1.5 * small[name][1] + 20
    }
    assert grown == {}
    assert {name: tables & {"deals", "deal_categories"} for name, (tables, _) in large.items()} == {
        name: set() for name in READS
    }


async def test_read_that_counts_rows_is_found_to_grow(connection: Connection) -> None:
    """This count has no maintained number behind it."""
    await insert_deals(connection, 1, SMALL)
    read = first_page(room_type="suite", min_discount=10)
    _, small = await explain_read(connection, read)
    await insert_deals(connection, SMALL + 1, LARGE)
    _, large = await explain_read(connection, read)

    assert large > 3 * small
