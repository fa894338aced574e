"""Twelve concurrent clients: no deadlock reaches a client, and the final numbers are exact."""

import asyncio
import random
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db.session import Database
from app.services.verification import VerificationService

pytestmark = pytest.mark.api

CLIENT_COUNT = 12
WRITE_COUNT = 300
CATEGORIES = ["beach", "business", "family", "luxury", "new", "newer", "newest"]


def random_deal(choice: random.Random, hotels: list[int]) -> dict[str, Any]:
    return {
        "hotel_id": choice.choice(hotels),
        "room_type": choice.choice(["suite", "economy"]),
        "star_rating": choice.randint(1, 5),
        "price_per_night": f"{choice.randint(1, 99_999_999)}.{choice.randint(0, 99):02}",
        "original_price": "100.00",
        "discount_percent": choice.randint(0, 100),
        "checkin_date": "2027-01-01",
        "checkout_date": "2027-01-02",
        "is_available": choice.random() < 0.8,
        "categories": choice.sample(CATEGORIES, choice.randint(0, 4)),
    }


async def run_random_writes(
    api: httpx.AsyncClient, choice: random.Random, hotels: list[int]
) -> set[int]:
    """Run a client's share of creates, changes, moves and deletes, and return the statuses."""
    statuses = set()
    known = [1]
    for _ in range(WRITE_COUNT // CLIENT_COUNT):
        action = choice.choice(["create", "create", "change", "move", "delete"])
        url = f"/deals/{choice.choice(known)}"
        deal = random_deal(choice, hotels)
        if action == "create":
            response = await api.post("/deals", json=deal)
            if response.status_code == 201:
                known.append(response.json()["id"])
        elif action == "change":
            fields = choice.sample(sorted(deal), 3)
            response = await api.patch(url, json={field: deal[field] for field in fields})
        elif action == "move":
            response = await api.patch(url, json={"hotel_id": deal["hotel_id"]})
        else:
            response = await api.delete(url)
        statuses.add(response.status_code)
    return statuses


async def test_concurrent_writers_keep_derived_numbers_exact(
    api: httpx.AsyncClient, database: Database
) -> None:
    hotels = []
    for number in range(8):
        body = {
            "name": f"H{number}",
            "city": f"C{number % 3}",
            "country": "X",
            "phone": f"{number}",
        }
        hotels.append((await api.post("/hotels", json=body)).json()["id"])

    met = await asyncio.gather(
        *(run_random_writes(api, random.Random(seed), hotels) for seed in range(CLIENT_COUNT))  # noqa: S311
    )

    assert set().union(*met) <= {200, 201, 204, 404, 409}
    async with database.uow.begin() as session:
        assert await VerificationService(session).verify(fix=False) == []
        rows = (
            await session.execute(
                text(
                    "SELECT city, price_per_night, is_available FROM deals"
                    " JOIN hotels ON hotels.id = hotel_id"
                )
            )
        ).all()
    assert (await api.get("/deals?limit=1")).json()["total"] == len(rows)
    for only in (False, True):
        prices: dict[str, list[Decimal]] = {}
        for city, price, available in rows:
            if available or not only:
                prices.setdefault(city, []).append(price)
        shown = (await api.get(f"/deals/stats?available_only={only}")).json()
        assert {item["city"]: (item["avg_price"], item["deal_count"]) for item in shown} == {
            city: (
                str((sum(found, Decimal()) / len(found)).quantize(Decimal("0.01"), ROUND_HALF_UP)),
                len(found),
            )
            for city, found in prices.items()
        }
