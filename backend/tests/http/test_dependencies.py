import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import app_client
from tests.routers.bodies import HOTEL

from app.core.config import Settings
from app.http.dependencies import get_actor
from app.main import create_app
from app.services.keys import Actor

pytestmark = pytest.mark.api


@pytest.fixture
def app(own_settings: Settings) -> FastAPI:
    return create_app(own_settings)


async def test_dependency_override_replaces_actor_of_included_route(app: FastAPI) -> None:
    async with app_client(app) as client:
        allowed = await client.post("/hotels", json=HOTEL)
        app.dependency_overrides[get_actor] = lambda: Actor("reader", frozenset())
        refused = await client.post("/hotels", json=HOTEL)

    assert (allowed.status_code, refused.status_code) == (201, 403)


async def test_dependency_override_does_not_reach_another_application(
    app: FastAPI, api: httpx.AsyncClient
) -> None:
    app.dependency_overrides[get_actor] = lambda: Actor("reader", frozenset())

    assert (await api.post("/hotels", json=HOTEL)).status_code == 201
