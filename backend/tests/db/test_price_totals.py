"""Exact totals between two prices: compared with counted rows, and with the buffers they read."""

import json
import random
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, select, text
from tests.conftest import Catalog
from tests.support.databases import dsn
from tests.support.factories import (
    DealFactory,
    DealRow,
    HotelFactory,
    HotelRow,
    insert_deal,
    insert_hotel,
)

from app.db.reader import prepared
from app.db.session import Database
from app.repositories.deals.filters import total
from app.repositories.deals.read import DealReadRepository
from app.repositories.pagination import PagePosition

pytestmark = pytest.mark.integration

CENT = Decimal("0.01")
STEPS = [Decimal(n) for n in (10, 50, 190, 200, 225, 500, 550, 1000, 1100, 5000, 10_000_000)]
PRICES = [
    *(price for step in STEPS for price in (step - CENT, step, step + CENT)),
    *map(Decimal, ("0.01", "9.50", "57.31", "57.32", "99999999.99")),
]
BOUNDS = [*PRICES, *map(Decimal, ("0.02", "53", "1500", "3000", "99999999"))]
RANGES: list[tuple[Decimal | None, Decimal | None]] = [
    *((None, bound) for bound in BOUNDS),
    *((bound, None) for bound in BOUNDS),
    *((low, high) for low in BOUNDS for high in BOUNDS if low <= high),
]
FIRST = PagePosition("id", 0, None, 1)


async def read_total(database: Database, filters: dict[str, Any]) -> int:
    found, _ = await DealReadRepository(database.reader).page(filters, FIRST, "exact")
    assert found is not None
    return found


def matches_filters(deal: DealRow, hotel: HotelRow, filters: dict[str, Any]) -> bool:
    return (
        filters.get("price_min", 0) <= deal.price_per_night
        and deal.price_per_night <= filters.get("price_max", 10**9)
        and filters.get("city", hotel.city).casefold() == hotel.city.casefold()
        and filters.get("hotel_id", hotel.id) == hotel.id
        and (deal.is_available or not filters.get("available_only"))
    )


@pytest.mark.parametrize("count", [150, pytest.param(600, marks=pytest.mark.slow)])
async def test_total_price_range_matches_rows(database: Database, count: int) -> None:
    """Pairs of bounds on, beside and between the steps, with some filter on hotels."""
    chosen = random.Random(5)  # noqa: S311 - a choice, not a secret
    hotels = {}
    deals = []
    async with database.uow.begin() as session:
        connection = await session.connection()
        for city in ("Berlin", "Paris", "Berlin"):
            hotel = await insert_hotel(connection, HotelFactory.build(city=city))
            hotels[hotel.id] = hotel
            for price in [*PRICES, *chosen.choices(PRICES, k=10)]:
                deal = DealFactory.build(hotel_id=hotel.id, price_per_night=price)
                deals.append(await insert_deal(connection, deal))
    on_hotels: list[dict[str, Any]] = [
        {},
        {"city": "berlin"},
        {"hotel_id": min(hotels)},
        {"hotel_id": min(hotels), "city": "paris"},
    ]

    for low, high in chosen.sample(RANGES, k=count):
        filters = {**chosen.choice(on_hotels)}
        filters |= {"price_min": low} if low is not None else {}
        filters |= {"price_max": high} if high is not None else {}
        filters |= {"available_only": True} if chosen.random() < 0.4 else {}
        expected = sum(matches_filters(deal, hotels[deal.hotel_id], filters) for deal in deals)
        assert await read_total(database, filters) == expected, filters


@pytest.mark.parametrize("bounds", [("100", "300"), ("57.31", "57.35")])
@pytest.mark.parametrize("others", [{"min_stars": Decimal("2.5")}, {"q": "ber"}, {"country": "x"}])
async def test_total_price_range_with_hotel_filters_matches_page(
    catalog: Catalog, bounds: tuple[str, str], others: dict[str, Any]
) -> None:
    filters = {"price_min": Decimal(bounds[0]), "price_max": Decimal(bounds[1]), **others}
    places = PagePosition("id", 0, None, 1000)
    repository = DealReadRepository(catalog.database.reader)

    found, rows = await repository.page(filters, places, "exact")

    assert found == len(rows)


INSERT_DEALS = """
    INSERT INTO deals (hotel_id, room_type, star_rating, price_per_night, original_price,
        discount_percent, checkin_date, checkout_date, is_available)
    SELECT hotels.id, 'suite', 3, 20 + (n * 7919 % 48000) / 100.0, 600, 10, '2027-01-01',
        '2027-01-02', n % 4 > 0
    FROM hotels, generate_series(1, $1::int) AS n
"""


async def explain_total(connection: asyncpg.Connection, filters: dict[str, Any]) -> dict[str, Any]:
    statement = select(total(frozenset(filters), "exact", single_category=False))
    sql, arguments = prepared(statement, filters)
    explained = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments
    )
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def has_sequential_scan(plan: dict[str, Any], table: str) -> bool:
    """Return whether a node of the plan, at any depth, scans all of the table."""
    return (plan["Node Type"], plan.get("Relation Name")) == ("Seq Scan", table) or any(
        has_sequential_scan(part, table) for part in plan.get("Plans", ())
    )


@pytest.mark.slow
async def test_total_larger_table_reads_no_more(database: Database, clone_url: URL) -> None:
    bounds = {"price_min": Decimal(100), "price_max": Decimal(300)}
    kinds: list[dict[str, Any]] = [
        bounds,
        {"price_min": Decimal(100)},
        {**bounds, "available_only": True},
        {**bounds, "city": "berlin", "min_stars": Decimal(2)},
    ]
    async with database.uow.begin() as session:
        for city in ("Berlin", "Berlin", "Rome", "Paris"):
            await insert_hotel(await session.connection(), HotelFactory.build(city=city))
    connection = await asyncpg.connect(dsn(clone_url))
    read: list[list[int]] = []
    try:
        for deals_per_hotel in (5_000, 45_000):
            await connection.execute(INSERT_DEALS, deals_per_hotel)
            for table in ("deals", "hotels"):
                await connection.execute(f"VACUUM ANALYZE {table}")
            plans = [await explain_total(connection, filters) for filters in kinds]
            assert not any(has_sequential_scan(plan, "deals") for plan in plans)
            read.append([plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans])
    finally:
        await connection.close()
    async with database.uow.begin() as session:
        counted = await session.execute(
            text("SELECT count(*) FROM deals WHERE price_per_night BETWEEN 100 AND 300")
        )
        assert await read_total(database, bounds) == counted.scalar_one()

    for few, many in zip(*read, strict=True):
        assert many <= 2 * few < 200, read
