"""Migrations keep data in both directions, from any writer."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pandas as pd
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, make_url
from tests.support.databases import dsn

from app.db.migrations import upgrade_async

pytestmark = pytest.mark.migration

DEALS = pd.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "hotel_name": ["Alpha Inn", "Beta Inn", "Alpha Inn", "Gamma"],
        "hotel_city": ["Berlin", "ZÜRICH", "Berlin", "Rome"],
        "hotel_country": ["Germany", "Switzerland", "Germany", "Italy"],
        "hotel_star_rating": [4, 5, 3, 1],
        "hotel_phone": ["+49-1", "+41-1", "+49-1", "+39-1"],
        "room_type": ["suite", "deluxe", "economy", "suite"],
        "price_per_night": [663.92, 193.48, 121.84, 0.1],
        "original_price": [862.24, 483.69, 196.52, 0.2],
        "discount_percent": [23, 60, 38, 50],
        "checkin_date": ["2027-06-30", "2027-08-27", "2027-11-23", "2027-01-01"],
        "checkout_date": ["2027-07-10", "2027-09-02", "2027-11-27", "2027-01-02"],
        "is_available": [False, False, True, True],
        "categories": ["business", " Luxury,beach, luxury", None, "KÜSTE,,beach "],
        "created_at": [
            "2026-08-28 00:10:25",
            "2026-09-05 02:04:35",
            "2026-06-28 23:14:40",
            "2026-01-01 00:00:00",
        ],
    }
)


def load_by_pandas(df: pd.DataFrame, db: Engine) -> None:
    """Load by pandas as docs/import-a-file.md shows, in `mise run python` at revision 1."""
    hotels = df[["hotel_name", "hotel_city", "hotel_country", "hotel_phone"]].drop_duplicates()
    hotels.columns = pd.Index(["name", "city", "country", "phone"])
    hotels.to_sql("hotels", db, if_exists="append", index=False)

    ids = pd.read_sql("SELECT id AS hotel_id, phone FROM hotels", db)
    deals = df.merge(ids, left_on="hotel_phone", right_on="phone").rename(
        columns={"id": "external_id", "hotel_star_rating": "star_rating"}
    )
    deals = deals.drop(
        columns=["hotel_name", "hotel_city", "hotel_country", "hotel_phone", "phone"]
    )
    deals.to_sql("deals", db, if_exists="append", index=False, method="multi", chunksize=1000)


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn(make_url(url)))
    yield connection
    await connection.close()


@pytest.fixture
async def database_at_revision_1(url: str, alembic_engine: Engine) -> None:
    await upgrade_async(url, "0001")
    await asyncio.to_thread(load_by_pandas, DEALS, alembic_engine)


async def test_upgrade_notebook_data_fills_final_schema(
    database_at_revision_1: None, url: str, connection: asyncpg.Connection
) -> None:
    await upgrade_async(url)

    hotels = await connection.fetch("SELECT name, star_rating, deal_count FROM hotels ORDER BY id")
    assert [tuple(row) for row in hotels] == [
        ("Alpha Inn", Decimal("3.5"), 2),
        ("Beta Inn", Decimal(5), 1),
        ("Gamma", Decimal(1), 1),
    ]
    links = await connection.fetch(
        """
        SELECT external_id, array_agg(name ORDER BY name COLLATE "C")
        FROM deals JOIN deal_categories ON deal_id = deals.id
        JOIN categories ON categories.id = category_id GROUP BY 1 ORDER BY 1
        """
    )
    assert [tuple(row) for row in links] == [
        (1, ["business"]),
        (2, ["beach", "luxury"]),
        (4, ["beach", "küste"]),
    ]
    prices = await connection.fetch("SELECT price_per_night FROM deals ORDER BY external_id")
    assert [str(row[0]) for row in prices] == ["663.92", "193.48", "121.84", "0.10"]
    totals = await connection.fetchval("SELECT sum(deal_count)::int FROM category_totals")
    assert totals == 5


async def fetch_deals(connection: asyncpg.Connection, columns: str) -> list[tuple[object, ...]]:
    rows = await connection.fetch(f"SELECT {columns} FROM deals ORDER BY id")
    return [tuple(row) for row in rows]


async def test_downgrade_to_0001_restores_category_text(
    database_at_revision_1: None,
    url: str,
    alembic_config_for: Config,
    connection: asyncpg.Connection,
) -> None:
    kept_columns = "id, external_id, hotel_id, price_per_night, version_id, created_at, updated_at"
    before = await fetch_deals(connection, kept_columns)
    await upgrade_async(url)
    await asyncio.to_thread(command.downgrade, alembic_config_for, "0001")

    assert await fetch_deals(connection, kept_columns) == before
    assert await fetch_deals(connection, "categories") == [
        ("business",),
        ("beach,luxury",),
        (None,),
        ("beach,küste",),
    ]
    await upgrade_async(url)
    assert await connection.fetchval("SELECT count(*) FROM deal_categories") == 5


async def test_downgrade_to_0002_keeps_averages(
    database_at_revision_1: None,
    url: str,
    alembic_config_for: Config,
    connection: asyncpg.Connection,
) -> None:
    averages = "SELECT name, round(star_rating, 4) FROM hotels ORDER BY id"
    await upgrade_async(url, "0002")
    averages_at_2 = [tuple(row) for row in await connection.fetch(averages)]
    await upgrade_async(url)
    averages_at_head = [tuple(row) for row in await connection.fetch(averages)]
    await asyncio.to_thread(command.downgrade, alembic_config_for, "0002")

    assert (
        averages_at_2
        == averages_at_head
        == [tuple(row) for row in await connection.fetch(averages)]
    )


async def test_upgrade_to_0009_counts_prices(
    database_at_revision_1: None,
    url: str,
    alembic_config_for: Config,
    connection: asyncpg.Connection,
) -> None:
    counts_below = (
        "SELECT name, prices_below[price_step(200)], available_prices_below[price_step(200)]"
        " FROM hotels ORDER BY id"
    )
    expected = [("Alpha Inn", 1, 1), ("Beta Inn", 1, 0), ("Gamma", 1, 1)]
    await upgrade_async(url)
    assert [tuple(row) for row in await connection.fetch(counts_below)] == expected

    await asyncio.to_thread(command.downgrade, alembic_config_for, "0008")
    await connection.execute("UPDATE deals SET price_per_night = 1 WHERE external_id = 1")
    await upgrade_async(url)
    assert [tuple(row) for row in await connection.fetch(counts_below)] == [
        ("Alpha Inn", 2, 1),
        *expected[1:],
    ]


@pytest.mark.parametrize("collation", ["C", "C.UTF-8"])
async def test_fold_case_any_locale_ignores_case(
    url: str, collation: str, connection: asyncpg.Connection
) -> None:
    name = f"{make_url(url).database}_locale"
    await connection.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE '{collation}'"
    )
    try:
        other = make_url(url).set(database=name)
        await upgrade_async(other.render_as_string(hide_password=False))
        folding = await asyncpg.connect(dsn(other))
        try:
            for left, right in [
                ("ZÜRICH", "zürich"),
                ("Zu\u0308rich", "ZÜRICH"),
                ("МОСКВА", "Москва"),
                ("ΑΘΉΝΑ", "Αθήνα"),
                ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
                ("İSTANBUL", "istanbul"),
                ("Łódź", "ŁÓDŹ"),
                ("ԵՐԵՒԱՆ", "երեւան"),
                ("東京", "東京"),
                ("BERLIN", "berlin"),
            ]:
                assert await folding.fetchval(
                    "SELECT fold_case($1) = fold_case($2)", left, right
                ), (left, right)
            assert await folding.fetchval("SELECT lower_case('ΣΊΣΥΦΟς ÀÉ')") == "σίσυφος àé"
        finally:
            await folding.close()
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
