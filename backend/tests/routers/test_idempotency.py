"""Idempotency-Key on every POST: a retry returns the first response and stores nothing."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.routers.bodies import DEAL, HOTEL

from app.db.session import Database
from app.services.keys import KeyService

pytestmark = pytest.mark.api

KEY = {"Idempotency-Key": "b1946ac9-2d1f"}


async def count_stored_keys(database: Database) -> int:
    [[number]] = await database.reader.rows(text("SELECT count(*) FROM idempotency_keys"))
    return int(number)


async def test_idempotency_key_same_request_replays_response(
    api: httpx.AsyncClient, hotel: dict[str, Any]
) -> None:
    body = {**DEAL, "external_id": None, "hotel_id": hotel["id"]}

    first = await api.post("/deals", json=body, headers=KEY)
    again = await api.post("/deals", json=body, headers=KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("location", "etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (await api.get("/deals")).json()["total"] == 1


async def test_idempotency_key_other_body_returns_422(api: httpx.AsyncClient) -> None:
    await api.post("/hotels", json=HOTEL, headers=KEY)

    response = await api.post("/hotels", json={**HOTEL, "phone": "+2"}, headers=KEY)

    assert response.status_code == 422
    assert response.json()["error"]["details"][0]["field"] == "header.idempotency-key"
    assert (await api.get("/hotels")).json()["total"] == 1


async def test_idempotency_key_24_concurrent_requests_create_one_deal(
    api: httpx.AsyncClient, hotel: dict[str, Any]
) -> None:
    body = {**DEAL, "external_id": None, "hotel_id": hotel["id"]}

    answers = await asyncio.gather(*(api.post("/deals", json=body, headers=KEY) for _ in range(24)))

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert (await api.get("/deals")).json()["total"] == 1
    assert (await api.post("/deals", json=body, headers=KEY)).status_code == 201


async def test_idempotency_key_of_running_request_returns_409(
    api: httpx.AsyncClient, database: Database
) -> None:
    async with database.uow.begin() as session:
        await session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:identity, 0))"),
            {"identity": "POST /hotels\ndevelopment\nb1946ac9-2d1f"},
        )
        response = await api.post("/hotels", json=HOTEL, headers=KEY)

    assert response.status_code == 409
    assert "still running" in response.json()["error"]["message"]
    assert (await api.post("/hotels", json=HOTEL, headers=KEY)).status_code == 201


async def test_idempotency_key_of_failed_request_is_not_stored(
    api: httpx.AsyncClient, database: Database
) -> None:
    body = {**DEAL, "hotel_id": 1}
    assert (await api.post("/deals", json=body, headers=KEY)).status_code == 404
    assert (await api.post("/deals", json={}, headers=KEY)).status_code == 422
    assert await count_stored_keys(database) == 0

    await api.post("/hotels", json=HOTEL)
    assert (await api.post("/deals", json=body, headers=KEY)).status_code == 201


async def test_idempotency_key_of_other_route_or_actor_is_independent(
    production_client: httpx.AsyncClient, database: Database
) -> None:
    keys = {}
    async with database.uow.begin() as session:
        for name in ("a", "b"):
            keys[name] = await KeyService(session).create(name, ["deals:write"])
    first = await production_client.post(
        "/hotels", json=HOTEL, headers=KEY | {"X-API-Key": keys["a"]}
    )
    assert first.status_code == 201

    other = await production_client.post(
        "/hotels", json=HOTEL, headers=KEY | {"X-API-Key": keys["b"]}
    )
    assert other.status_code == 409  # not replayed: the phone is taken
    deal = {**DEAL, "hotel_id": first.json()["id"]}
    made = await production_client.post("/deals", json=deal, headers=KEY | {"X-API-Key": keys["a"]})
    assert made.status_code == 201


async def test_idempotency_key_after_24_hours_is_reusable_and_old_keys_are_deleted(
    api: httpx.AsyncClient, database: Database
) -> None:
    for number in range(30):
        body = {**HOTEL, "name": f"H{number}", "phone": f"+{number}"}
        await api.post("/hotels", json=body, headers={"Idempotency-Key": f"k{number}"})
    async with database.uow.begin() as session:
        await session.execute(
            text("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
        )

    body = {**HOTEL, "name": "New", "phone": "+new"}
    response = await api.post("/hotels", json=body, headers={"Idempotency-Key": "k0"})

    assert response.status_code == 201
    assert response.json()["name"] == "New"
    assert await count_stored_keys(database) == 30 - 20


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é"])
async def test_idempotency_key_invalid_returns_422(api: httpx.AsyncClient, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}

    response = await api.post("/hotels", json=HOTEL, headers=headers)

    assert response.status_code == 422
    assert response.json()["error"]["details"][0]["field"] == "header.idempotency-key"
