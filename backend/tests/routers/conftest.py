from typing import Any

import httpx
import pytest
from tests.routers.bodies import DEAL, HOTEL


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
