"""The number of SQL statements of each operation, independent of the size of the data."""

import re
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from structlog.testing import capture_logs
from tests.routers.bodies import DEAL, HOTEL

from app.core.config import Settings
from app.main import create_app

pytestmark = pytest.mark.api

# BEGIN and COMMIT are not counted. The three of a change are the stored row, the change, and the
# new row. Those of a POST are the Idempotency-Key, the insert, and the stored response.
BUDGET = {
    "get_health": 1,
    "get_liveness": 0,
    "get_readiness": 1,
    "list_deals": 1,
    "get_deal": 1,
    "city_statistics": 1,
    # One query for the free ids of the file, and three for parts of the export.
    "export_deals": 4,
    "list_hotels": 1,
    "get_hotel": 1,
    "list_categories": 1,
    "create_deal": 3,
    "change_deal": 3,
    "delete_deal": 2,
    "create_hotel": 3,
    "change_hotel": 2,
    "delete_hotel": 2,
    # Two statements are for the Idempotency-Key.
    "upsert_deals": 11,
    # A lock, a search for the same bytes, the import, its job, and the import as it is now.
    "create_import": 5,
    "list_imports": 1,
    "get_import": 1,
    "cancel_import": 2,
    # Each chunk with rejects, or each event, adds a statement.
    "get_import_rejects": 2,
    "watch_import": 2,
}
_TIMING = re.compile(
    r'db;dur=(?P<sql_ms>[\d.]+);desc="SQL statements: (?P<statements>\d+)", total;dur=[\d.]+'
)


def test_budget_covers_every_operation(settings: Settings) -> None:
    routes = [
        context.original_route for context in iter_route_contexts(create_app(settings).routes)
    ]
    operations = {route.operation_id for route in routes if isinstance(route, APIRoute)}

    assert operations == set(BUDGET)


async def count_statements(
    client: httpx.AsyncClient, method: str, path: str, **request: Any
) -> tuple[int, int]:
    """Return the status and the number of statements, and compare the header with the log line."""
    with capture_logs() as lines:
        response = await client.request(method, path, **request)
    [line] = [line for line in lines if line["event"] == "request"]
    timing = _TIMING.fullmatch(response.headers["server-timing"])
    assert timing is not None, response.headers["server-timing"]
    assert int(timing["statements"]) == line["sql_statements"]
    assert float(timing["sql_ms"]) == line["sql_ms"]
    assert (line["sql_ms"] > 0) == (line["sql_statements"] > 0)
    return response.status_code, line["sql_statements"]


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/health", "get_health"),
        ("/health/live", "get_liveness"),
        ("/health/ready", "get_readiness"),
        ("/deals", "list_deals"),
        ("/deals?skip=100000", "list_deals"),
        ("/deals?count=estimated&price_min=5", "list_deals"),
        ("/deals?count=none&sort=-price_per_night", "list_deals"),
        (
            "/deals?city=berlin&min_stars=1&price_min=1&price_max=900&category=beach&q=b",
            "list_deals",
        ),
        ("/deals/stats", "city_statistics"),
        ("/deals/1", "get_deal"),
        ("/hotels", "list_hotels"),
        ("/hotels?q=a&city=berlin", "list_hotels"),
        ("/hotels/1", "get_hotel"),
        ("/categories", "list_categories"),
    ],
)
async def test_read_uses_one_statement(
    client: httpx.AsyncClient, path: str, operation: str
) -> None:
    assert await count_statements(client, "GET", path) == (200, BUDGET[operation])


@pytest.mark.parametrize(
    ("accept", "statements"),
    [("text/csv", BUDGET["export_deals"]), ("application/x-ndjson", 1)],
)
async def test_export_of_all_deals_uses_constant_statement_count(
    client: httpx.AsyncClient, accept: str, statements: int
) -> None:
    with capture_logs() as lines:
        await client.get("/deals/export", headers={"Accept": accept})
    [line] = [line for line in lines if line["event"] == "request"]

    assert line["sql_statements"] == statements
    assert line["sql_ms"] > 0


@pytest.mark.parametrize("path", ["/deals?limit=0", "/nothing"])
async def test_invalid_request_uses_no_statement(client: httpx.AsyncClient, path: str) -> None:
    status, statements = await count_statements(client, "GET", path)

    assert status >= 400
    assert statements == 0


async def test_write_uses_at_most_three_statements(
    api: httpx.AsyncClient, deal: dict[str, Any]
) -> None:
    url, hotel_url = f"/deals/{deal['id']}", f"/hotels/{deal['hotel_id']}"
    new = {**DEAL, "external_id": 9, "hotel_id": deal["hotel_id"]}
    whole = {
        **{name: value for name, value in DEAL.items() if name != "hotel_id"},
        "star_rating": 1,
        "categories": ["new one", "luxury"],
    }
    other = {**HOTEL, "name": "N", "phone": "+9"}
    once = {"Idempotency-Key": "k"}

    assert [
        await count_statements(api, "POST", "/deals", json=new, headers=once),
        await count_statements(api, "PATCH", url, json=whole),
        await count_statements(api, "DELETE", url),
        await count_statements(api, "POST", "/hotels", json=other, headers=once),
        await count_statements(api, "PATCH", hotel_url, json={"name": "M"}),
        await count_statements(api, "DELETE", f"/hotels/{deal['hotel_id'] + 1}"),
    ] == [
        (201, BUDGET["create_deal"]),
        (200, BUDGET["change_deal"]),
        (204, BUDGET["delete_deal"]),
        (201, BUDGET["create_hotel"]),
        (200, BUDGET["change_hotel"]),
        (204, BUDGET["delete_hotel"]),
    ]


async def test_import_operations_keep_to_budget(api: httpx.AsyncClient) -> None:
    csv = {"Content-Type": "text/csv"}
    assert [
        await count_statements(api, "POST", "/imports", content=b"id\n", headers=csv),
        await count_statements(api, "GET", "/imports"),
        await count_statements(api, "GET", "/imports/1"),
        await count_statements(api, "DELETE", "/imports/1"),
    ] == [
        (202, BUDGET["create_import"]),
        (200, BUDGET["list_imports"]),
        (200, BUDGET["get_import"]),
        (200, BUDGET["cancel_import"]),
    ]
    # The header of a stream counts only the statements before its start.
    for path, operation in (("rejects", "get_import_rejects"), ("events", "watch_import")):
        with capture_logs() as lines:
            await api.get(f"/imports/1/{path}")
        assert [line["sql_statements"] for line in lines] == [BUDGET[operation]]


async def test_bulk_upsert_of_3_or_300_deals_keeps_to_budget(
    api: httpx.AsyncClient, hotel: dict[str, Any]
) -> None:
    for length in (3, 300):
        body = [{**DEAL, "external_id": n + 1, "hotel_id": hotel["id"]} for n in range(length)]
        # Some deals are stored already, some differ, some are new.
        body[0] |= {"room_type": str(length)}
        headers = {"Idempotency-Key": str(length)}
        status, statements = await count_statements(
            api, "POST", "/deals/bulk", json=body, headers=headers
        )
        assert status == 200
        assert statements <= BUDGET["upsert_deals"]


async def test_production_response_has_no_server_timing(
    production_client: httpx.AsyncClient,
) -> None:
    assert "server-timing" not in (await production_client.get("/deals")).headers
