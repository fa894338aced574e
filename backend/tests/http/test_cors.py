"""CORS: methods and headers for pages of other origins, and refused preflights."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from sqlalchemy import URL
from tests.conftest import Catalog, app_client

from app.core.config import Settings
from app.main import create_app
from app.services.deals import DealReadService

pytestmark = pytest.mark.api

ALLOWED_ORIGIN, OTHER_ORIGIN = "https://shop.example", "https://other.example"
PREFLIGHT_HEADERS = {"Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
async def cors_client(
    catalog: Catalog, on_database: Callable[[URL], Settings]
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application with one allowed origin."""
    settings = on_database(catalog.url).model_copy(update={"cors_origins": (ALLOWED_ORIGIN,)})
    async with app_client(create_app(settings)) as client:
        yield client


async def test_cors_preflight_of_allowed_origin_returns_200(cors_client: httpx.AsyncClient) -> None:
    headers = {
        **PREFLIGHT_HEADERS,
        "Origin": ALLOWED_ORIGIN,
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    answer = await cors_client.options("/deals", headers=headers)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": OTHER_ORIGIN},
        {"Origin": ALLOWED_ORIGIN, "Access-Control-Request-Method": "TRACE"},
        {"Origin": ALLOWED_ORIGIN, "Access-Control-Request-Headers": "x-other"},
    ],
)
async def test_cors_preflight_not_allowed_returns_400(
    cors_client: httpx.AsyncClient, asked: dict[str, str]
) -> None:
    answer = await cors_client.options("/deals", headers={**PREFLIGHT_HEADERS, **asked})

    assert answer.status_code == 400
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (ALLOWED_ORIGIN if asked["Origin"] == ALLOWED_ORIGIN else None)


async def test_cors_responses_are_readable_by_allowed_origin_only(
    cors_client: httpx.AsyncClient,
) -> None:
    """This includes responses that come from outside the routes."""
    too_large = {"Content-Type": "application/json", "Content-Length": "99999999"}
    for origin, allowed in ((ALLOWED_ORIGIN, ALLOWED_ORIGIN), (OTHER_ORIGIN, None)):
        for answer in (
            await cors_client.get("/deals", headers={"Origin": origin}),
            await cors_client.get("/nothing", headers={"Origin": origin}),
            await cors_client.post("/deals", headers={"Origin": origin, **too_large}),
            await cors_client.get("/dashboard/cities", headers={"Origin": origin}),
        ):
            assert answer.headers.get("access-control-allow-origin") == allowed
            if allowed:
                assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
            # A cache must not serve the response for one origin to another.
            assert "Origin" in answer.headers["vary"]
            assert "x-request-id" in answer.headers


async def test_cors_refusals_by_outer_layers_are_readable(
    catalog: Catalog, on_database: Callable[[URL], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 500 of a bug, and the 503 of load shedding."""
    settings = on_database(catalog.url).model_copy(
        update={"cors_origins": (ALLOWED_ORIGIN,), "max_requests_in_progress": 1}
    )
    app = create_app(settings)
    async with app_client(app) as client:
        monkeypatch.setattr(DealReadService, "get", lambda *_: 1 / 0)
        failed = await client.get("/deals/1", headers={"Origin": ALLOWED_ORIGIN})
        app.state.services.limiter.try_acquire()
        refused = await client.get("/deals/1", headers={"Origin": ALLOWED_ORIGIN})

    assert (failed.status_code, refused.status_code) == (500, 503)
    for answer in (failed, refused):
        assert answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN


async def test_cors_options_without_origin_returns_405(cors_client: httpx.AsyncClient) -> None:
    assert (await cors_client.options("/deals")).status_code == 405


async def test_cors_setting_unset_sends_no_cors_headers(client: httpx.AsyncClient) -> None:
    preflight = await client.options(
        "/deals", headers={**PREFLIGHT_HEADERS, "Origin": ALLOWED_ORIGIN}
    )
    answer = await client.get("/deals", headers={"Origin": ALLOWED_ORIGIN})

    assert preflight.status_code == 405
    for each in (preflight, answer):
        assert not [name for name in each.headers if name.startswith("access-control-")]
