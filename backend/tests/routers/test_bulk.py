"""`POST /deals/bulk`: up to 1,000 deals, one result each, a constant number of statements."""

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
ItemFactory = Callable[..., Item]


@pytest.fixture
def make_item(hotel: Item) -> ItemFactory:
    def build(external_id: int | None, /, **changes: Any) -> Item:
        return {**DEAL, "external_id": external_id, "hotel_id": hotel["id"], **changes}

    return build


async def bulk_upsert(api: httpx.AsyncClient, items: Any, query: str = "") -> list[Item]:
    response = await api.post(f"/deals/bulk{query}", json=items)
    assert response.status_code == 200, response.text
    results: list[Item] = response.json()["results"]
    assert [result["index"] for result in results] == list(range(len(items)))
    return results


def statuses(results: list[Item]) -> list[str]:
    return [result["status"] for result in results]


async def test_bulk_upsert_repeated_items_are_created_updated_or_unchanged(
    api: httpx.AsyncClient, make_item: ItemFactory, database: Database
) -> None:
    first = await bulk_upsert(api, [make_item(1), make_item(2), make_item(None), make_item(3)])
    again = await bulk_upsert(
        api,
        [
            make_item(1, star_rating=1),
            make_item(2, categories=["LUXURY", "boutique"]),
            make_item(None),
            make_item(3, categories=["new"]),
            make_item(4),
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
    async with database.uow.begin() as session:
        assert await VerificationService(session).verify(fix=False) == []


async def test_bulk_upsert_invalid_items_do_not_stop_others(
    api: httpx.AsyncClient, make_item: ItemFactory
) -> None:
    results = await bulk_upsert(
        api,
        [
            make_item(1),
            make_item(2, price_per_night=-1, unknown=1),
            make_item(3, hotel_id=999),
            make_item(1, star_rating=1),
            5,
            None,
            make_item(4),
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
async def test_bulk_upsert_atomic_with_invalid_item_stores_nothing(
    api: httpx.AsyncClient,
    make_item: ItemFactory,
    database: Database,
    bad: Item,
    status: int,
    field: str,
) -> None:
    before = await fetch_catalog_rows(database)

    response = await api.post(
        "/deals/bulk?atomic=true", json=[make_item(1), make_item(2, **bad), make_item(3)]
    )

    assert response.status_code == status
    assert [d["field"] for d in response.json()["error"]["details"]] == [field]
    assert await fetch_catalog_rows(database) == before
    results = await bulk_upsert(api, [make_item(1), make_item(2)], "?atomic=true")
    assert statuses(results) == ["created"] * 2


async def test_bulk_upsert_1000_items_uses_constant_statement_count(
    api: httpx.AsyncClient, make_item: ItemFactory
) -> None:
    with capture_logs() as lines:
        await bulk_upsert(api, [make_item(1)])
        await bulk_upsert(api, [make_item(number, star_rating=1) for number in range(1, 1001)])

    counted = [line["sql_statements"] for line in lines if line["event"] == "request"]
    assert counted[0] == counted[1] <= 9


async def test_bulk_upsert_retry_with_idempotency_key_replays_response(
    api: httpx.AsyncClient, make_item: ItemFactory
) -> None:
    key = {"Idempotency-Key": "bulk-1"}
    first = await api.post("/deals/bulk", json=[make_item(None), make_item(None)], headers=key)
    again = await api.post("/deals/bulk", json=[make_item(None), make_item(None)], headers=key)

    assert again.content == first.content
    assert (await api.get("/deals")).json()["total"] == 2


@pytest.mark.parametrize("body", [{}, 5, "x", [{}] * 1001])
async def test_bulk_upsert_body_not_array_or_too_long_returns_422(
    api: httpx.AsyncClient, body: Any
) -> None:
    response = await api.post("/deals/bulk", json=body)

    assert response.status_code == 422


async def test_bulk_upsert_empty_array_returns_no_results(api: httpx.AsyncClient) -> None:
    assert await bulk_upsert(api, []) == []
