"""Random sequences of writes: the API agrees with a model in memory after every step."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from sqlalchemy import URL
from tests.conftest import app_client
from tests.support.databases import as_text, pools, temporary_database

from app.core.config import Settings
from app.main import create_app

pytestmark = [pytest.mark.api, pytest.mark.slow]

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "room_type": st.sampled_from(["suite", "economy"]),
    "star_rating": st.integers(1, 5),
    "price_per_night": st.integers(1, 10**10 - 1).map(lambda cents: f"{cents / 100:.2f}"),
    "discount_percent": st.integers(0, 100),
    "is_available": st.booleans(),
    "categories": st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(sorted),
}
FIXED = {"original_price": "1.00", "checkin_date": "2027-01-01", "checkout_date": "2027-01-02"}


class ApiServer:
    """The application on an event loop of its own, for Hypothesis' synchronous rules."""

    def __init__(self, server_url: URL, template: str, changes: Settings) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._start(server_url, template, changes))

    async def _start(self, server_url: URL, template: str, base: Settings) -> None:
        url = await self._stack.enter_async_context(temporary_database(server_url, template))
        self._database = await self._stack.enter_async_context(pools(url, base))
        app = create_app(base.model_copy(update={"database_url": SecretStr(as_text(url))}))
        self._client = await self._stack.enter_async_context(app_client(app))

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, url, **options))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


class WriteStateMachine(RuleBasedStateMachine):
    """Random writes of clients, and the state that the API must show."""

    server: ApiServer
    number = 0

    hotels: Bundle[int] = Bundle("hotels")
    deals: Bundle[int] = Bundle("deals")

    @initialize()
    def reset(self) -> None:
        for deal in self._list_deals():
            assert self.server.request("DELETE", f"/deals/{deal['id']}").status_code == 204
        self.model: dict[int, dict[str, Any]] = {}
        self.cities: dict[int, str] = {}

    @rule(target=hotels, city=st.sampled_from(["Rome", "Paris"]))
    def create_hotel(self, city: str) -> int:
        WriteStateMachine.number += 1
        body = {"name": f"H{self.number}", "city": city, "country": "X", "phone": f"{self.number}"}
        made: int = self.server.request("POST", "/hotels", json=body).json()["id"]
        self.cities[made] = city
        return made

    @rule(target=deals, hotel=hotels, fields=st.fixed_dictionaries(FIELDS))
    def create_deal(self, hotel: int, fields: dict[str, Any]) -> int:
        response = self.server.request(
            "POST", "/deals", json={**FIXED, **fields, "hotel_id": hotel}
        )
        assert response.status_code == 201, response.text
        made: int = response.json()["id"]
        self.model[made] = {**fields, "hotel_id": hotel, "version": 1}
        self._assert_agrees(response.json())
        return made

    @rule(deal=deals, changes=st.fixed_dictionaries({}, optional=FIELDS))
    def update_deal(self, deal: int, changes: dict[str, Any]) -> None:
        self._update(deal, changes)

    @rule(deal=deals, hotel=hotels)
    def move_deal(self, deal: int, hotel: int) -> None:
        self._update(deal, {"hotel_id": hotel})

    @rule(deal=consumes(deals))
    def delete_deal(self, deal: int) -> None:
        assert self.server.request("DELETE", f"/deals/{deal}").status_code == 204
        assert self.server.request("GET", f"/deals/{deal}").status_code == 404
        del self.model[deal]

    @invariant()
    def list_agrees(self) -> None:
        shown = self._list_deals()
        assert [deal["id"] for deal in shown] == sorted(self.model)
        for deal in shown:
            self._assert_agrees(deal)

    @invariant()
    def statistics_agree(self) -> None:
        prices: dict[str, list[Decimal]] = {}
        for deal in self.model.values():
            prices.setdefault(self.cities[deal["hotel_id"]], []).append(
                Decimal(deal["price_per_night"])
            )
        cents = Decimal("0.01")
        expected = {
            city: (str((sum(found) / len(found)).quantize(cents, ROUND_HALF_UP)), len(found))  # type: ignore[union-attr]
            for city, found in prices.items()
        }
        shown = self.server.request("GET", "/deals/stats").json()
        assert {x["city"]: (x["avg_price"], x["deal_count"]) for x in shown} == expected

    def _update(self, deal: int, changes: dict[str, Any]) -> None:
        response = self.server.request("PATCH", f"/deals/{deal}", json=changes)
        assert response.status_code == 200, response.text
        before = dict(self.model[deal])
        self.model[deal].update(changes)
        self.model[deal]["version"] += self.model[deal] != before
        self._assert_agrees(response.json())

    def _assert_agrees(self, shown: dict[str, Any]) -> None:
        expected = self.model[shown["id"]]
        assert {name: shown[name] for name in expected} == expected
        stars = [
            deal["star_rating"]
            for deal in self.model.values()
            if deal["hotel_id"] == shown["hotel_id"]
        ]
        average = Decimal(sum(stars)) / len(stars)
        rounded = average.quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert shown["hotel"]["avg_star_rating"] == float(rounded)

    def _list_deals(self) -> list[dict[str, Any]]:
        page = self.server.request("GET", "/deals?limit=100").json()
        assert page["total"] == len(page["items"])
        items: list[dict[str, Any]] = page["items"]
        return items


@pytest.fixture
def server(server_url: URL, template: str, settings: Settings) -> Iterator[ApiServer]:
    server = ApiServer(server_url, template, settings)
    yield server
    server.close()


def test_random_writes_agree_with_model(server: ApiServer) -> None:
    class BoundStateMachine(WriteStateMachine):
        pass

    BoundStateMachine.server = server
    run_state_machine_as_test(
        BoundStateMachine,
        settings=hypothesis_settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
