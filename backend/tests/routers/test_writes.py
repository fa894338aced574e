"""Writes of deals and hotels.

A confirmed write is stored, and a refused write changes nothing.
"""

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import URL, text
from tests.conftest import app_client
from tests.routers.bodies import DEAL, HOTEL
from tests.support.databases import as_text
from tests.support.stored_rows import fetch_catalog_rows

from app.core.config import Settings
from app.db.session import Database
from app.main import create_app
from app.services.verification import VerificationService

pytestmark = pytest.mark.api


class _HandlerFailureError(Exception):
    """A bug in a handler, after the write."""


class TestCreateDeal:
    async def test_valid_body_returns_201_and_stores_deal(
        self, api: httpx.AsyncClient, hotel: dict[str, Any]
    ) -> None:
        response = await api.post("/deals", json={**DEAL, "hotel_id": hotel["id"]})

        assert response.status_code == 201
        shown = response.json()
        assert response.headers["location"] == f"/deals/{shown['id']}"
        assert {key: shown[key] for key in ("external_id", "original_price", "version")} == {
            "external_id": 17,
            "original_price": "244.69",
            "version": 1,
        }
        assert shown["categories"] == ["boutique", "luxury"]
        assert shown["hotel"]["avg_star_rating"] == 4.0
        again = await api.get(response.headers["location"])
        assert again.json() == shown
        assert again.headers["etag"] == response.headers["etag"]

    async def test_optional_fields_missing_get_defaults(
        self, api: httpx.AsyncClient, hotel: dict[str, Any]
    ) -> None:
        optional = {"external_id", "is_available", "categories"}
        body = {key: value for key, value in DEAL.items() if key not in optional}

        shown = (await api.post("/deals", json={**body, "hotel_id": hotel["id"]})).json()

        assert (shown["external_id"], shown["is_available"], shown["categories"]) == (
            None,
            True,
            [],
        )

    async def test_unknown_hotel_returns_404(self, api: httpx.AsyncClient) -> None:
        response = await api.post("/deals", json={**DEAL, "hotel_id": 999})

        assert response.status_code == 404
        assert "999" in response.json()["error"]["message"]

    async def test_duplicate_external_id_returns_409(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        response = await api.post("/deals", json={**DEAL, "hotel_id": deal["hotel_id"]})

        assert response.status_code == 409
        assert response.json()["error"]["code"] == "CONFLICT"
        assert (await api.get("/deals")).json()["total"] == 1


class TestCreateHotel:
    async def test_valid_body_returns_201_and_stores_hotel(self, api: httpx.AsyncClient) -> None:
        response = await api.post("/hotels", json={**HOTEL, "name": "  Café Zürich "})

        assert response.status_code == 201
        assert response.json()["name"] == "Café Zürich"
        again = await api.get(response.headers["location"])
        assert again.json() == response.json()
        assert again.headers["etag"] == response.headers["etag"]

    @pytest.mark.parametrize("change", [{"phone": "+1"}, {"name": "Other"}])
    async def test_duplicate_phone_or_name_returns_409(
        self, api: httpx.AsyncClient, hotel: dict[str, Any], change: dict[str, str]
    ) -> None:
        response = await api.post("/hotels", json={**HOTEL, **change})

        assert response.status_code == 409
        assert "Another hotel" in response.json()["error"]["message"]


class TestUpdateDeal:
    async def test_one_field_leaves_others_unchanged(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        response = await api.patch(f"/deals/{deal['id']}", json={"star_rating": 2})

        shown = response.json()
        assert response.status_code == 200
        assert (shown["star_rating"], shown["version"]) == (2, 2)
        assert shown["hotel"]["avg_star_rating"] == 2.0
        untouched = set(deal) - {"star_rating", "version", "updated_at", "hotel"}
        assert {key: shown[key] for key in untouched} == {key: deal[key] for key in untouched}
        assert (await api.get(f"/deals/{deal['id']}")).json() == shown

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"star_rating": 4},
            {"star_rating": 4.0},
            {"price_per_night": 176.18},
            {"external_id": 17},
        ],
    )
    async def test_same_values_keep_version(
        self, api: httpx.AsyncClient, deal: dict[str, Any], body: dict[str, Any]
    ) -> None:
        response = await api.patch(f"/deals/{deal['id']}", json=body)

        assert (response.status_code, response.json()) == (200, deal)

    @pytest.mark.parametrize(
        ("sent", "stored"),
        [([], []), (["NEW", "luxury"], ["luxury", "new"]), (["zürich ÄÖÜ"], ["zürich äöü"])],
    )
    async def test_categories_replace_stored_ones(
        self, api: httpx.AsyncClient, deal: dict[str, Any], sent: list[str], stored: list[str]
    ) -> None:
        response = await api.patch(f"/deals/{deal['id']}", json={"categories": sent})

        assert (response.json()["categories"], response.json()["version"]) == (stored, 2)

    async def test_other_hotel_id_moves_deal(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        other = await api.post("/hotels", json={**HOTEL, "name": "B", "phone": "+2"})
        new_id = other.json()["id"]

        shown = (await api.patch(f"/deals/{deal['id']}", json={"hotel_id": new_id})).json()

        assert shown["hotel"]["id"] == shown["hotel_id"] == new_id
        assert (await api.get(f"/hotels/{deal['hotel_id']}")).json()["deal_count"] == 0
        assert (await api.get(f"/hotels/{new_id}")).json()["deal_count"] == 1

    async def test_unknown_hotel_returns_404(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        response = await api.patch(f"/deals/{deal['id']}", json={"hotel_id": 999})

        assert response.status_code == 404
        assert (await api.get(f"/deals/{deal['id']}")).json() == deal

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"checkin_date": "2026-12-06"}, "body.checkin_date"),
            ({"checkout_date": "2026-12-01"}, "body.checkout_date"),
            ({"checkin_date": "2027-01-02", "checkout_date": "2027-01-01"}, "body.checkout_date"),
        ],
    )
    async def test_date_in_conflict_with_stored_one_returns_422(
        self, api: httpx.AsyncClient, deal: dict[str, Any], body: dict[str, str], field: str
    ) -> None:
        response = await api.patch(f"/deals/{deal['id']}", json=body)

        assert response.status_code == 422
        assert response.json()["error"]["details"][0]["field"] == field
        assert (await api.get(f"/deals/{deal['id']}")).json() == deal


class TestUpdateHotel:
    async def test_new_city_increments_version_once(
        self, api: httpx.AsyncClient, hotel: dict[str, Any]
    ) -> None:
        response = await api.patch(f"/hotels/{hotel['id']}", json={"city": "ZÜRICH"})

        assert (response.json()["city"], response.json()["version"]) == ("ZÜRICH", 2)
        assert (await api.get("/hotels", params={"city": "zürich"})).json()["total"] == 1
        same = await api.patch(f"/hotels/{hotel['id']}", json={"city": "ZÜRICH"})
        assert same.json()["version"] == 2


class TestDeleteDeal:
    async def test_existing_deal_returns_204_then_404(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        response = await api.delete(f"/deals/{deal['id']}")

        assert (response.status_code, response.content) == (204, b"")
        assert (await api.get(f"/deals/{deal['id']}")).status_code == 404
        assert (await api.delete(f"/deals/{deal['id']}")).status_code == 404
        assert (await api.get(f"/hotels/{deal['hotel_id']}")).json()["deal_count"] == 0


class TestDeleteHotel:
    async def test_hotel_with_deals_returns_409(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        response = await api.delete(f"/hotels/{deal['hotel_id']}")

        assert response.status_code == 409
        await api.delete(f"/deals/{deal['id']}")
        assert (await api.delete(f"/hotels/{deal['hotel_id']}")).status_code == 204
        assert (await api.get(f"/hotels/{deal['hotel_id']}")).status_code == 404


class TestPreconditions:
    @pytest.mark.parametrize("resource", ["deals", "hotels"])
    async def test_stale_if_match_returns_412_and_current_one_200(
        self, api: httpx.AsyncClient, deal: dict[str, Any], resource: str
    ) -> None:
        url = f"/deals/{deal['id']}" if resource == "deals" else f"/hotels/{deal['hotel_id']}"
        body = {"room_type": "cave"} if resource == "deals" else {"country": "Prussia"}
        old = (await api.get(url)).headers["etag"]
        changed = await api.patch(url, json=body, headers={"If-Match": old})
        assert changed.status_code == 200

        for stale in (old, '"nonsense"', f"W/{changed.headers['etag']}", ""):
            response = await api.patch(url, json={}, headers={"If-Match": stale})
            assert response.status_code == 412, stale
            assert response.json()["error"]["code"] == "PRECONDITION_FAILED"
            response = await api.delete(url, headers={"If-Match": stale})
            assert response.status_code == 412
        either = f"{old}, {changed.headers['etag']}"
        assert (await api.patch(url, json={}, headers={"If-Match": either})).status_code == 200
        assert (await api.patch(url, json={}, headers={"If-Match": "*"})).status_code == 200

    async def test_other_deal_of_hotel_keeps_if_match_current(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        url = f"/deals/{deal['id']}"
        tag = (await api.get(url)).headers["etag"]
        other = {**DEAL, "external_id": 18, "star_rating": 1, "hotel_id": deal["hotel_id"]}
        await api.post("/deals", json=other)

        assert (await api.get(url, headers={"If-None-Match": tag})).status_code == 200
        change = await api.patch(url, json={"room_type": "x"}, headers={"If-Match": tag})
        assert change.status_code == 200

    async def test_80_concurrent_updates_get_own_version_or_409(
        self, api: httpx.AsyncClient, deal: dict[str, Any]
    ) -> None:
        url = f"/deals/{deal['id']}"
        # All prices differ from each other and from the stored one, which would give a 200 without
        # a new version.
        prices = [f"{100 + n}.{n:02}" for n in range(80)]
        assert deal["price_per_night"] not in prices

        answers = await asyncio.gather(
            *(api.patch(url, json={"price_per_night": price}) for price in prices)
        )

        assert {answer.status_code for answer in answers} <= {200, 409}
        done = {
            answer.json()["version"]: price
            for answer, price in zip(answers, prices, strict=True)
            if answer.status_code == 200 and answer.json()["price_per_night"] == price
        }
        final = (await api.get(url)).json()
        assert final["version"] == 1 + [answer.status_code for answer in answers].count(200)
        assert sorted(done) == list(range(2, final["version"] + 1))
        assert final["price_per_night"] == done[final["version"]]


class TestTransactions:
    async def test_commit_failure_returns_409_and_stores_nothing(
        self, api: httpx.AsyncClient, hotel: dict[str, Any], database: Database
    ) -> None:
        """The commit precedes the response, so an error of the commit gives no 201."""
        async with database.uow.begin() as session:
            await session.execute(
                text(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
                    " BEGIN RAISE EXCEPTION 'at commit' USING ERRCODE = '40001'; END $$"
                )
            )
            await session.execute(
                text(
                    "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON deals"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
                )
            )
        before = await fetch_catalog_rows(database)

        response = await api.post("/deals", json={**DEAL, "hotel_id": hotel["id"]})

        assert response.status_code == 409
        assert await fetch_catalog_rows(database) == before

    async def test_handler_failure_after_write_stores_nothing(
        self,
        clone_url: URL,
        settings: Settings,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def fail(*_: object) -> None:
            raise _HandlerFailureError

        monkeypatch.setattr(
            "app.services.support.idempotency.IdempotentRequest.store_response", fail
        )
        url = SecretStr(as_text(clone_url))
        before = await fetch_catalog_rows(database)
        async with app_client(
            create_app(settings.model_copy(update={"database_url": url}))
        ) as client:
            response = await client.post("/hotels", json=HOTEL)

        assert response.status_code == 500
        assert await fetch_catalog_rows(database) == before

    async def test_hotel_deleted_while_deals_are_created_stays_consistent(
        self, api: httpx.AsyncClient, hotel: dict[str, Any], database: Database
    ) -> None:
        """Either the hotel stays with the stored deal, or it is deleted and the deal gets 404."""
        for number in range(12):
            body = {**DEAL, "external_id": 100 + number, "hotel_id": hotel["id"]}
            made, gone = await asyncio.gather(
                api.post("/deals", json=body), api.delete(f"/hotels/{hotel['id']}")
            )
            assert (made.status_code, gone.status_code) in {(201, 409), (404, 204)}
            if made.status_code == 201:
                await api.delete(made.headers["location"])
            else:
                hotel = (await api.post("/hotels", json=HOTEL)).json()
        async with database.uow.begin() as session:
            assert await VerificationService(session).verify(fix=False) == []
