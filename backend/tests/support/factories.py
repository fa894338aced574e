"""Random valid rows, and inserts that bypass the code under test."""

import itertools
import random
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CITIES = ["Berlin", "Paris", "Zürich", "Rome"]
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


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


# Fixed seeds make the rows independent of the order and the selection of tests.
_hotels = random.Random(7)  # noqa: S311 - rows of tests
_deals = random.Random(11)  # noqa: S311 - rows of tests

_SURNAMES = ["Alvarez", "Becker", "Chen", "Dubois", "Eriksen", "Fischer", "Okafor", "Rossi"]
_WORDS = ["court", "garden", "harbour", "lodge", "palace", "river", "terrace", "view"]
_ROOMS = ["economy", "standard", "suite"]
_CATEGORIES = ["beach", "business", "family", "luxury"]

# Hotels of one city have different names, and no two hotels have the same phone number.
_numbers = itertools.count(1)


class HotelFactory:
    """A builder of random hotels. `build` takes the fields that a test sets."""

    @staticmethod
    def build(**fields: Any) -> HotelRow:
        number = next(_numbers)
        values: dict[str, Any] = {
            "name": f"{_hotels.choice(_SURNAMES)} {_hotels.choice(_WORDS)} {number}",
            "city": _hotels.choice(CITIES),
            "country": "Somewhere",
            "phone": f"+{_hotels.randint(10, 99)}-{number:02}-555-{_hotels.randint(1000, 9999)}",
        }
        return HotelRow(**values | fields)

    @staticmethod
    def batch(count: int) -> list[HotelRow]:
        return [HotelFactory.build() for _ in range(count)]


class DealFactory:
    """A builder of random deals. `build` takes the fields that a test sets."""

    @staticmethod
    def build(**fields: Any) -> DealRow:
        values: dict[str, Any] = {
            "external_id": None,
            "room_type": _deals.choice(_ROOMS),
            "star_rating": _deals.randint(1, 5),
            "price_per_night": Decimal(_deals.randint(1_00, 900_00)) / 100,
            "original_price": Decimal("950.00"),
            "discount_percent": _deals.randint(0, 60),
            "checkin_date": date(2027, 1, 1) + timedelta(days=_deals.randint(0, 300)),
            "checkout_date": date(2028, 1, 1),
            "is_available": _deals.random() < 0.75,
            "created_at": _EPOCH + timedelta(seconds=_deals.randint(0, 20_000_000)),
            "categories": sorted(_deals.sample(_CATEGORIES, 2)),
        }
        return DealRow(**values | fields)


async def insert_hotel(connection: AsyncConnection, hotel: HotelRow | None = None) -> HotelRow:
    """Insert the hotel, and set its id."""
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
    """Insert the deal with its categories, and set its id."""
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
    """Insert hotels with random deals, interleaved so that ids do not follow hotels."""
    for hotel in hotels:
        await insert_hotel(connection, hotel)
    deals: list[DealRow] = []
    for _ in range(deals_per_hotel):
        for hotel in hotels:
            deal = DealFactory.build(hotel_id=hotel.id)
            deals.append(await insert_deal(connection, deal))
    return deals
