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


@pytest.mark.parametrize("path", ["/hotels/1", "/categories", "/hotels", "/"])
async def test_read_is_answered_while_writes_hold_all_of_their_connections(
    own_settings: Settings, path: str
) -> None:
    one = {"db_pool_size": 1, "db_max_overflow": 0, "db_pool_timeout": 0.1}
    app = create_app(own_settings.model_copy(update=one))
    async with app_client(app) as client:
        await client.post("/hotels", json=HOTEL)
        async with app.state.services.uow.begin():
            written = await client.post("/hotels", json=HOTEL)
            read = await client.get(path)

    assert (written.status_code, read.status_code) == (503, 200)
