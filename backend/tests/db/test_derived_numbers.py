"""Totals, averages and statistics equal a recomputation, for every kind of writer."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import URL, text
from tests.support.databases import dsn, pools, temporary_database
from tests.support.factories import HotelFactory, insert_catalog

from app.core.config import Settings
from app.db.session import Database
from app.services.verification import VerificationService

pytestmark = pytest.mark.integration

Connection = asyncpg.Connection


async def assert_no_drift(database: Database) -> None:
    async with database.uow.begin() as session:
        assert await VerificationService(session).verify(fix=False) == []
        for table in ("hotel_changes", "category_changes"):
            left = await session.execute(text(f"SELECT count(*) FROM {table}"))
            assert left.scalar_one() == 0


@pytest.fixture(scope="module")
async def template_with_deals(
    server_url: URL, template: str, settings: Settings
) -> AsyncIterator[str]:
    """Return the name of a database with deals, to clone."""
    async with temporary_database(server_url, template) as url:
        async with pools(url, settings) as database:
            async with database.uow.begin() as session:
                hotels = HotelFactory.batch(6)
                await insert_catalog(await session.connection(), hotels, deals_per_hotel=10)
            await assert_no_drift(database)
        assert url.database
        yield url.database


@pytest.fixture
async def clone_url(server_url: URL, template_with_deals: str) -> AsyncIterator[URL]:
    async with temporary_database(server_url, template_with_deals) as url:
        yield url


@pytest.fixture
def database_with_deals(database: Database) -> Database:
    return database


@pytest.fixture
async def connection(database_with_deals: Database, clone_url: URL) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn(clone_url))
    yield connection
    await connection.close()


INSERT_DEALS = """
    INSERT INTO deals (hotel_id, room_type, star_rating, price_per_night, original_price,
        discount_percent, checkin_date, checkout_date)
    SELECT hotels.id, 'suite', 1 + n % 5, 10.05 + n, 100, 10, '2027-01-01', '2027-01-02'
    FROM hotels, generate_series(1, 3) AS n
"""

WRITE_STATEMENTS = {
    "insert": INSERT_DEALS,
    "insert nothing": INSERT_DEALS + " WHERE false",
    "delete": "DELETE FROM deals WHERE id % 3 = 0",
    "delete all": "DELETE FROM deals",
    "change stars": "UPDATE deals SET star_rating = 6 - star_rating",
    "change prices": "UPDATE deals SET price_per_night = price_per_night + 0.01 WHERE id % 2 = 0",
    "multiply prices": "UPDATE deals SET price_per_night = price_per_night * (1 + id % 7)",
    "prices beyond every step": (
        "UPDATE deals SET price_per_night = CASE WHEN id % 2 = 0 THEN 99999999.99 ELSE 0.01 END"
    ),
    "prices at the steps": (
        "UPDATE deals SET price_per_night = (price_steps())[1 + id % 64] - id % 3 * 0.01"
    ),
    "sell": "UPDATE deals SET is_available = NOT is_available",
    "move between hotels": "UPDATE deals SET hotel_id = (SELECT max(id) FROM hotels)",
    "change nothing that counts": "UPDATE deals SET room_type = 'cave'",
    "unlink": "DELETE FROM deal_categories WHERE deal_id % 2 = 0",
    "relabel": (
        "UPDATE deal_categories SET category_id = (SELECT max(id) FROM categories)"
        " WHERE category_id = (SELECT min(id) FROM categories) AND deal_id NOT IN"
        " (SELECT deal_id FROM deal_categories"
        "  WHERE category_id = (SELECT max(id) FROM categories))"
    ),
    "truncate": "TRUNCATE deals CASCADE",
    "truncate links": "TRUNCATE deal_categories",
    "upsert": (
        "INSERT INTO deals (id, hotel_id, room_type, star_rating, price_per_night,"
        " original_price, discount_percent, checkin_date, checkout_date)"
        " SELECT id, hotel_id, 'x', 5, 1.01, 2, 3, '2027-01-01', '2027-01-02' FROM deals"
        " ON CONFLICT (id) DO UPDATE SET star_rating = 5, price_per_night = 1.01"
    ),
    "many statements": (
        "BEGIN; DELETE FROM deals WHERE id % 2 = 0; UPDATE deals SET star_rating = 2;"
        f"{INSERT_DEALS}; DELETE FROM deals WHERE star_rating = 2; COMMIT"
    ),
    "truncate after writing": (
        f"BEGIN; DELETE FROM deals WHERE id % 2 = 0; {INSERT_DEALS}; TRUNCATE deals CASCADE;"
        f"{INSERT_DEALS}; COMMIT"
    ),
    "rolled back": f"BEGIN; {INSERT_DEALS}; DELETE FROM deals WHERE id % 3 = 0; ROLLBACK",
    "partly rolled back": (
        f"BEGIN; {INSERT_DEALS}; SAVEPOINT s; DELETE FROM deals; ROLLBACK TO s; COMMIT"
    ),
    "hotel with its deals": (
        "BEGIN; INSERT INTO hotels (name, city, country, phone) VALUES ('N', 'C', 'L', '+1');"
        f"{INSERT_DEALS}; DELETE FROM deals WHERE hotel_id = (SELECT max(id) FROM hotels);"
        "DELETE FROM hotels WHERE phone = '+1'; COMMIT"
    ),
    "a hotel that comes and goes": (
        "BEGIN; DELETE FROM deal_categories; DELETE FROM deals; DELETE FROM categories;"
        "INSERT INTO hotels (name, city, country, phone) VALUES ('N', 'C', 'L', '+1');"
        f"{INSERT_DEALS}; DELETE FROM deals; DELETE FROM hotels; COMMIT"
    ),
    "immediate constraints": (
        f"BEGIN; SET CONSTRAINTS ALL IMMEDIATE; {INSERT_DEALS};"
        "DELETE FROM deals WHERE id % 3 = 0; COMMIT"
    ),
    "repeatable read": f"BEGIN ISOLATION LEVEL REPEATABLE READ; {INSERT_DEALS}; COMMIT",
}


# These examples cover each kind of statement and of transaction in every run.
QUICK_WRITES = {
    *("insert", "delete", "change prices", "sell", "move between hotels", "relabel", "truncate"),
    *("upsert", "many statements", "partly rolled back"),
}


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(write, marks=() if write in QUICK_WRITES else pytest.mark.slow)
        for write in WRITE_STATEMENTS
    ],
)
async def test_derived_numbers_any_sql_write_matches_rows(
    database_with_deals: Database, connection: Connection, write: str
) -> None:
    await connection.execute(WRITE_STATEMENTS[write])

    await assert_no_drift(database_with_deals)


async def test_derived_numbers_match_independent_recomputation(connection: Connection) -> None:
    """A second recomputation, written independently of `deals verify`, gives the same numbers."""
    await connection.execute("UPDATE deals SET is_available = false WHERE id % 2 = 0")
    rows = await connection.fetch(
        "SELECT hotel_id, star_rating, price_per_night, is_available FROM deals"
    )
    steps = await connection.fetchval("SELECT price_steps()")
    for hotel in await connection.fetch("SELECT * FROM hotels"):
        deals = [row for row in rows if row["hotel_id"] == hotel["id"]]
        available = [row for row in deals if row["is_available"]]
        assert hotel["deal_count"] == len(deals)
        assert hotel["available_count"] == len(available)
        assert hotel["price_sum"] == sum(row["price_per_night"] for row in deals)
        assert hotel["available_price_sum"] == sum(row["price_per_night"] for row in available)
        for name, counted in (("prices_below", deals), ("available_prices_below", available)):
            assert hotel[name] == [
                sum(row["price_per_night"] < step for row in counted) for step in steps
            ]
        stars = Decimal(sum(row["star_rating"] for row in deals)) / len(deals)
        assert round(hotel["star_rating"], 10) == round(stars, 10)


async def test_derived_numbers_other_search_path_match_rows(
    database_with_deals: Database, connection: Connection
) -> None:
    await connection.execute("SET search_path = pg_catalog")
    await connection.execute("DELETE FROM public.deals WHERE id % 2 = 0")
    await connection.execute("UPDATE public.hotels SET city = 'GENÈVE'")

    await assert_no_drift(database_with_deals)
    assert await connection.fetchval(
        "SELECT count(*) FROM public.hotels WHERE city_folded = 'genève'"
    )


@asynccontextmanager
async def open_connections(url: URL, count: int) -> AsyncIterator[list[Connection]]:
    opened = [await asyncpg.connect(dsn(url)) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            await connection.close()


async def test_concurrent_writers_opposite_orders_do_not_deadlock(
    database_with_deals: Database, clone_url: URL
) -> None:
    """Each transaction writes deals of all hotels, in a different order."""
    random_order = random.Random(3)  # noqa: S311 - an order, not a secret

    async def write(connection: Connection) -> None:
        hotel_ids = [row["id"] for row in await connection.fetch("SELECT id FROM hotels")]
        categories = [row["id"] for row in await connection.fetch("SELECT id FROM categories")]
        for _ in range(10):
            random_order.shuffle(hotel_ids)
            async with connection.transaction():
                for hotel_id in hotel_ids:
                    await connection.execute(f"{INSERT_DEALS} WHERE hotels.id = $1", hotel_id)
                    await connection.execute(
                        "INSERT INTO deal_categories SELECT max(deals.id), $1 FROM deals"
                        " WHERE hotel_id = $2 ON CONFLICT DO NOTHING",
                        random_order.choice(categories),
                        hotel_id,
                    )

    async with open_connections(clone_url, 8) as writers:
        await asyncio.gather(*(write(connection) for connection in writers))

    await assert_no_drift(database_with_deals)


async def test_concurrent_reader_sees_numbers_that_match_rows(
    database_with_deals: Database, clone_url: URL
) -> None:
    done = asyncio.Event()

    async def write(connection: Connection) -> None:
        for _ in range(30):
            await connection.execute(INSERT_DEALS)
            await connection.execute("DELETE FROM deals WHERE id % 2 = 0")
        done.set()

    async def read(connection: Connection) -> None:
        while not done.is_set():
            stored, counted = await connection.fetchrow(  # type: ignore[misc]
                "SELECT (SELECT sum(deal_count) FROM hotels), (SELECT count(*) FROM deals)"
            )
            assert stored == counted

    async with open_connections(clone_url, 3) as (writer, *readers):
        await asyncio.gather(write(writer), *(read(reader) for reader in readers))


async def test_open_transaction_does_not_block_other_writers(
    database_with_deals: Database, clone_url: URL
) -> None:
    async with open_connections(clone_url, 2) as (blocker, writer):
        await writer.execute("SET lock_timeout = '2s'")
        async with blocker.transaction():
            await blocker.execute("UPDATE deals SET star_rating = 1 WHERE id % 2 = 0")
            await writer.execute("UPDATE deals SET star_rating = 5 WHERE id % 2 = 1")
            await writer.execute(INSERT_DEALS)

    await assert_no_drift(database_with_deals)


async def test_verify_drift_is_reported_and_repaired(
    database_with_deals: Database, connection: Connection
) -> None:
    await connection.execute("UPDATE hotels SET deal_count = deal_count + 1 WHERE id = 1")
    await connection.execute("UPDATE category_totals SET deal_count = 99 WHERE stripe = 0")
    await connection.execute("DELETE FROM category_totals WHERE category_id = 2 AND stripe = 1")

    async with database_with_deals.uow.begin() as session:
        found = await VerificationService(session).verify(fix=False)
    async with database_with_deals.uow.begin() as session:
        assert await VerificationService(session).verify(fix=True) == found

    assert ("hotel", "1", "deal_count") in [(item.what, item.key, item.name) for item in found]
    [hotel] = [item for item in found if item.what == "hotel"]
    assert hotel.stored == hotel.actual + 1
    await assert_no_drift(database_with_deals)


async def test_price_steps_change_while_sum_is_unchanged(
    database_with_deals: Database, connection: Connection
) -> None:
    """Steps change while the sums of the hotel stay the same. The trigger must apply the change."""
    await connection.execute("UPDATE deals SET price_per_night = 65")
    first, second = [
        row["id"]
        for row in await connection.fetch("SELECT id FROM deals WHERE hotel_id = 1 LIMIT 2")
    ]
    before = await connection.fetchval("SELECT price_sum FROM hotels WHERE id = 1")
    await connection.execute(
        "UPDATE deals SET price_per_night = 65 + CASE id WHEN $1 THEN 30 ELSE -30 END"
        " WHERE id IN ($1, $2)",
        first,
        second,
    )

    assert await connection.fetchval("SELECT price_sum FROM hotels WHERE id = 1") == before
    await assert_no_drift(database_with_deals)


async def test_verify_wrong_price_step_is_reported_and_repaired(
    database_with_deals: Database, connection: Connection
) -> None:
    await connection.execute("UPDATE deals SET price_per_night = 65")
    await connection.execute("UPDATE hotels SET prices_below[7] = prices_below[7] - 1 WHERE id = 2")
    await connection.execute("UPDATE hotels SET available_prices_below = '{}' WHERE id = 3")

    async with database_with_deals.uow.begin() as session:
        found = await VerificationService(session).verify(fix=True)

    assert {(item.key, item.name) for item in found} == {
        ("2", "price step 6"),
        ("2", "price step 7"),
        ("3", "available price step 6"),
    }
    await assert_no_drift(database_with_deals)


async def test_commit_looks_up_change_records_by_key(
    database_with_deals: Database, connection: Connection
) -> None:
    """The planner must not prefer a scan because the table is empty whenever a plan is made."""
    scans = (
        "SELECT sum(pg_stat_get_xact_numscans(oid)) FROM pg_class"
        " WHERE oid IN ('hotel_changes'::regclass, 'hotels'::regclass)"
    )
    await connection.execute("VACUUM ANALYZE hotel_changes")
    async with connection.transaction():
        await connection.execute(f"{INSERT_DEALS} WHERE hotels.id = 5")
        before = await connection.fetchval(scans)
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")

        assert await connection.fetchval(scans) == before


async def test_transaction_many_statements_cost_grows_linearly(
    database_with_deals: Database, connection: Connection
) -> None:
    """A deferred event must not scan the records of others. The test compares costs, not times."""

    async def pages_read(statements: int) -> int:
        before = "SELECT pg_stat_get_xact_tuples_returned('pk_hotel_changes'::regclass)"
        async with connection.transaction():
            for _ in range(statements):
                await connection.execute(INSERT_DEALS)
            await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            read: int = await connection.fetchval(before)
        return read

    few, many = await pages_read(20), await pages_read(80)

    assert many < few * 6
    await assert_no_drift(database_with_deals)
