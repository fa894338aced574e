"""Up to 1,000 deals in a request: judged one by one, written in a constant number of statements."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from tests.routers.bodies import DEAL
from tests.support.stored_rows import fetch_catalog_rows

from app.db.session import Database
from app.services.verification import VerificationService

pytestmark = pytest.mark.api

Item = dict[str, Any]
Make = Callable[..., Item]


@pytest.fixture
def item(hotel: Item) -> Make:
    def make(external_id: int | None, /, **changes: Any) -> Item:
        return {**DEAL, "external_id": external_id, "hotel_id": hotel["id"], **changes}

    return make


async def send(api: httpx.AsyncClient, items: Any, query: str = "") -> list[Item]:
    response = await api.post(f"/deals/bulk{query}", json=items)
    assert response.status_code == 200, response.text
    results: list[Item] = response.json()["results"]
    assert [result["index"] for result in results] == list(range(len(items)))
    return results


def statuses(results: list[Item]) -> list[str]:
    return [result["status"] for result in results]


async def test_items_are_created_updated_or_unchanged(
    api: httpx.AsyncClient, item: Make, database: Database
) -> None:
    first = await send(api, [item(1), item(2), item(None), item(3)])
    again = await send(
        api,
        [
            item(1, star_rating=1),
            item(2, categories=["LUXURY", "boutique"]),
            item(None),
            item(3, categories=["new"]),
            item(4),
        ],
    )

    assert statuses(first) == ["created"] * 4
    assert statuses(again) == ["updated", "unchanged", "created", "updated", "created"]
    assert [result["id"] for result in again[:2]] == [result["id"] for result in first[:2]]
    changed = (await api.get(f"/deals/{first[0]['id']}")).json()
    assert (changed["star_rating"], changed["version"]) == (1, 2)
    relabelled = (await api.get(f"/deals/{first[3]['id']}")).json()
    assert (relabelled["categories"], relabelled["version"]) == (["new"], 2)
    assert (await api.get(f"/deals/{first[1]['id']}")).json()["version"] == 1
    assert (await api.get("/deals")).json()["total"] == 6
    async with database.transaction() as session:
        assert await VerificationService(session).verify(fix=False) == []


async def test_a_bad_item_stops_no_other(api: httpx.AsyncClient, item: Make) -> None:
    results = await send(
        api,
        [
            item(1),
            item(2, price_per_night=-1, unknown=1),
            item(3, hotel_id=999),
            item(1, star_rating=1),
            5,
            None,
            item(4),
        ],
    )

    assert statuses(results) == ["created", "error", "error", "error", "error", "error", "created"]
    codes = [result["error"] and result["error"]["code"] for result in results]
    assert codes == [
        None,
        "VALIDATION_ERROR",
        "NOT_FOUND",
        "CONFLICT",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
        None,
    ]
    assert {detail["field"] for detail in results[1]["error"]["details"]} == {
        "price_per_night",
        "unknown",
    }


@pytest.mark.parametrize(
    ("bad", "status", "field"),
    [
        ({"star_rating": 9}, 422, "body.1.star_rating"),
        ({"hotel_id": 999}, 409, "body.1"),
        ({"external_id": 1}, 409, "body.1"),
    ],
)
async def test_atomic_is_all_or_nothing(
    api: httpx.AsyncClient, item: Make, database: Database, bad: Item, status: int, field: str
) -> None:
    before = await fetch_catalog_rows(database)

    response = await api.post("/deals/bulk?atomic=true", json=[item(1), item(2, **bad), item(3)])

    assert response.status_code == status
    assert [d["field"] for d in response.json()["error"]["details"]] == [field]
    assert await fetch_catalog_rows(database) == before
    assert statuses(await send(api, [item(1), item(2)], "?atomic=true")) == ["created"] * 2


async def test_the_number_of_statements_does_not_grow(api: httpx.AsyncClient, item: Make) -> None:
    with capture_logs() as lines:
        await send(api, [item(1)])
        await send(api, [item(number, star_rating=1) for number in range(1, 1001)])

    counted = [line["sql_statements"] for line in lines if line["event"] == "request"]
    assert counted[0] == counted[1] <= 9


async def test_a_retry_with_a_key_is_the_first_answer(api: httpx.AsyncClient, item: Make) -> None:
    key = {"Idempotency-Key": "bulk-1"}
    first = await api.post("/deals/bulk", json=[item(None), item(None)], headers=key)
    again = await api.post("/deals/bulk", json=[item(None), item(None)], headers=key)

    assert again.content == first.content
    assert (await api.get("/deals")).json()["total"] == 2


@pytest.mark.parametrize("body", [{}, 5, "x", [{}] * 1001])
async def test_what_is_no_array_of_at_most_1000_is_refused(
    api: httpx.AsyncClient, body: Any
) -> None:
    response = await api.post("/deals/bulk", json=body)

    assert response.status_code == 422


async def test_an_empty_array_does_nothing(api: httpx.AsyncClient) -> None:
    assert await send(api, []) == []
