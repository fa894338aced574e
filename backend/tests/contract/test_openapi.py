"""The OpenAPI document is the committed one, and responses match it."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter

from app.core.config import Settings
from app.main import create_app

SNAPSHOT = Path(__file__).with_name("openapi.json")


@pytest.mark.unit
def test_document_equals_committed_snapshot(settings: Settings) -> None:
    """`UPDATE_SNAPSHOTS=1 uv run pytest tests/contract` updates the snapshot."""
    document = json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(document)

    assert document == SNAPSHOT.read_text()


def response_models(settings: Settings) -> dict[str, Any]:
    app = create_app(settings)
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    return {
        route.path_format: route.response_model
        for route in routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ())
    }


@pytest.mark.api
@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/health", "/health"),
        ("/deals", "/deals?limit=100"),
        ("/deals", "/deals?count=none&limit=1"),
        ("/deals", "/deals?skip=99999"),
        ("/deals/{deal_id}", "/deals/1"),
        ("/deals/stats", "/deals/stats"),
        ("/hotels", "/hotels?limit=100"),
        ("/hotels/{hotel_id}", "/hotels/1"),
        ("/categories", "/categories"),
    ],
)
async def test_response_round_trips_through_declared_model(
    client: httpx.AsyncClient, settings: Settings, route: str, path: str
) -> None:
    """A response has every field, each of its type, and by the round trip no other field."""
    adapter: TypeAdapter[Any] = TypeAdapter(response_models(settings)[route])
    response = await client.get(path)

    assert response.status_code == 200
    assert adapter.dump_json(adapter.validate_json(response.content)) == response.content


def test_response_with_extra_field_fails_round_trip(settings: Settings) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(response_models(settings)["/health"])
    content = b'{"status":"ok","more":1}'

    assert adapter.dump_json(adapter.validate_json(content)) != content
