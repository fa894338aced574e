from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import URL
from tests.conftest import serving
from tests.databases import as_text
from tests.routers.bodies import DEAL, HOTEL

from app.config import Settings
from app.main import create_app


@pytest.fixture
async def api(clone_url: URL, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The application on a database of the test's own."""
    url = SecretStr(as_text(clone_url))
    async with serving(create_app(settings.model_copy(update={"database_url": url}))) as client:
        yield client


@pytest.fixture
async def hotel(api: httpx.AsyncClient) -> dict[str, Any]:
    response = await api.post("/hotels", json=HOTEL)
    assert response.status_code == 201
    created: dict[str, Any] = response.json()
    return created


@pytest.fixture
async def deal(api: httpx.AsyncClient, hotel: dict[str, Any]) -> dict[str, Any]:
    response = await api.post("/deals", json={**DEAL, "hotel_id": hotel["id"]})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created
