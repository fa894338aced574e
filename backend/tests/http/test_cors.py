"""Pages of other origins: what they may send and read, and what the service refuses."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from sqlalchemy import URL
from structlog.testing import capture_logs
from tests.conftest import Catalog, app_client

from app.core.config import Settings
from app.main import create_app

pytestmark = pytest.mark.api

SHOP, OTHER = "https://shop.example", "https://other.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "X-Request-ID": "trace-1"}


@pytest.fixture(scope="module")
async def shared(
    catalog: Catalog, on_database: Callable[[URL], Settings]
) -> AsyncIterator[httpx.AsyncClient]:
    """The application for pages of one other origin."""
    settings = on_database(catalog.url).model_copy(update={"cors_origins": (SHOP,)})
    async with app_client(create_app(settings)) as client:
        yield client


async def test_a_page_may_ask_what_it_says_it_will(shared: httpx.AsyncClient) -> None:
    headers = {
        **PREFLIGHT,
        "Origin": SHOP,
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    with capture_logs() as lines:
        answer = await shared.options("/deals", headers=headers)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["x-request-id"] == "trace-1"
    assert [line["status"] for line in lines if line["event"] == "request"] == [200]


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": OTHER},
        {"Origin": SHOP, "Access-Control-Request-Method": "TRACE"},
        {"Origin": SHOP, "Access-Control-Request-Headers": "x-other"},
    ],
)
async def test_a_refused_preflight_is_in_the_envelope(
    shared: httpx.AsyncClient, asked: dict[str, str]
) -> None:
    answer = await shared.options("/deals", headers={**PREFLIGHT, **asked})

    assert answer.status_code == 422
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"] == "trace-1"
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (SHOP if asked["Origin"] == SHOP else None)


async def test_every_answer_can_be_read_by_that_origin_alone(shared: httpx.AsyncClient) -> None:
    """Also the ones that are made outside of all routes."""
    too_large = {"Content-Type": "application/json", "Content-Length": "99999999"}
    for origin, allowed in ((SHOP, SHOP), (OTHER, None)):
        for answer in (
            await shared.get("/deals", headers={"Origin": origin}),
            await shared.get("/nothing", headers={"Origin": origin}),
            await shared.post("/deals", headers={"Origin": origin, **too_large}),
            await shared.get("/dashboard/cities", headers={"Origin": origin}),
        ):
            assert answer.headers.get("access-control-allow-origin") == allowed
            if allowed:
                assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
            # A cache must not give one origin's answer to another.
            assert "Origin" in answer.headers["vary"]
            assert "x-request-id" in answer.headers


async def test_options_without_a_page_is_what_it_was(shared: httpx.AsyncClient) -> None:
    assert (await shared.options("/deals")).status_code == 405


async def test_without_the_setting_no_other_origin_is_let_in(client: httpx.AsyncClient) -> None:
    preflight = await client.options("/deals", headers={**PREFLIGHT, "Origin": SHOP})
    answer = await client.get("/deals", headers={"Origin": SHOP})

    assert preflight.status_code == 405
    for each in (preflight, answer):
        assert not [name for name in each.headers if name.startswith("access-control-")]
