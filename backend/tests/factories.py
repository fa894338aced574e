"""Random but valid rows, and how to put them into a database without the code under test."""

import itertools
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from polyfactory import Use
from polyfactory.factories import DataclassFactory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CITIES = ["Berlin", "Paris", "Zürich", "Rome"]


@dataclass
class HotelRow:
    name: str
    city: str
    country: str
    phone: str
    id: int = 0


@dataclass
class DealRow:
    external_id: int | None
    room_type: str
    star_rating: int
    price_per_night: Decimal
    original_price: Decimal
    discount_percent: int
    checkin_date: date
    checkout_date: date
    is_available: bool
    created_at: datetime
    hotel_id: int = 0
    id: int = 0
    categories: list[str] = field(default_factory=list)


# Two hotels of a city have no name in common.
_NUMBERS = itertools.count(1)


class HotelFactory(DataclassFactory[HotelRow]):
    __random_seed__ = 7

    name = Use(
        lambda: (
            f"{HotelFactory.__faker__.last_name()} {HotelFactory.__faker__.word()} {next(_NUMBERS)}"
        )
    )
    city = Use(DataclassFactory.__random__.choice, CITIES)
    country = "Somewhere"
    phone = Use(lambda: HotelFactory.__faker__.unique.numerify("+##-##-###-####"))
    id = 0


class DealFactory(DataclassFactory[DealRow]):
    __random_seed__ = 11

    external_id = None
    room_type = Use(DataclassFactory.__random__.choice, ["economy", "standard", "suite"])
    star_rating = Use(DataclassFactory.__random__.randint, 1, 5)
    price_per_night = Use(lambda: Decimal(DataclassFactory.__random__.randint(1_00, 900_00)) / 100)
    original_price = Decimal("950.00")
    discount_percent = Use(DataclassFactory.__random__.randint, 0, 60)
    checkin_date = Use(
        lambda: date(2027, 1, 1) + timedelta(days=DataclassFactory.__random__.randint(0, 300))
    )
    checkout_date = date(2028, 1, 1)
    is_available = Use(DataclassFactory.__random__.choice, [True, True, True, False])
    created_at = Use(
        lambda: (
            datetime(2026, 1, 1, tzinfo=UTC)
            + timedelta(seconds=DataclassFactory.__random__.randint(0, 20_000_000))
        )
    )
    categories = Use(
        lambda: sorted(
            DataclassFactory.__random__.sample(["beach", "business", "family", "luxury"], 2)
        )
    )
    hotel_id = 0
    id = 0


async def insert_hotel(connection: AsyncConnection, hotel: HotelRow | None = None) -> HotelRow:
    """Insert it, and note its id in it."""
    hotel = hotel or HotelFactory.build()
    result = await connection.execute(
        text(
            "INSERT INTO hotels (name, city, country, phone)"
            " VALUES (:name, :city, :country, :phone) RETURNING id"
        ),
        asdict(hotel),
    )
    hotel.id = result.scalar_one()
    return hotel


async def insert_deal(connection: AsyncConnection, deal: DealRow) -> DealRow:
    """Insert it with its categories, and note its id in it."""
    result = await connection.execute(
        text(
            "INSERT INTO deals (external_id, hotel_id, room_type, star_rating, price_per_night,"
            " original_price, discount_percent, checkin_date, checkout_date, is_available,"
            " created_at) VALUES (:external_id, :hotel_id, :room_type, :star_rating,"
            " :price_per_night, :original_price, :discount_percent, :checkin_date,"
            " :checkout_date, :is_available, :created_at) RETURNING id"
        ),
        asdict(deal),
    )
    deal.id = result.scalar_one()
    await connection.execute(
        text(
            "INSERT INTO categories (name) SELECT unnest(CAST(:names AS text[]))"
            " ON CONFLICT DO NOTHING"
        ),
        {"names": deal.categories},
    )
    await connection.execute(
        text(
            "INSERT INTO deal_categories (deal_id, category_id)"
            " SELECT :id, categories.id FROM categories WHERE name = ANY(:names)"
        ),
        {"id": deal.id, "names": deal.categories},
    )
    return deal


async def insert_catalog(
    connection: AsyncConnection, hotels: list[HotelRow], deals_per_hotel: int
) -> list[DealRow]:
    """Hotels with random deals, the deals interleaved so that ids do not follow hotels."""
    for hotel in hotels:
        await insert_hotel(connection, hotel)
    deals: list[DealRow] = []
    for _ in range(deals_per_hotel):
        for hotel in hotels:
            deal = DealFactory.build(hotel_id=hotel.id)
            deals.append(await insert_deal(connection, deal))
    return deals
