"""`GET /deals/export`: its rows, formats and headers."""

import csv
import gzip
import io
import json
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from tests.conftest import Catalog
from tests.support.deal_filters import DEAL_FILTERS

from app.ingestion.columns import NAMES

pytestmark = pytest.mark.api

ACCEPT_CSV = {"Accept": "text/csv"}
ACCEPT_NDJSON = {"Accept": "application/x-ndjson"}
LAST_ID = 2**63


async def export_deals(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"/deals/export?{query}", headers=ACCEPT_NDJSON)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def list_deals(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    deals: list[dict[str, Any]] = []
    place = ""
    while True:
        response = await client.get(f"/deals?limit=100&{query}{place}")
        assert response.status_code == 200, response.text
        page = response.json()
        deals += page["items"]
        if page["next_cursor"] is None:
            return deals
        place = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize("query", ["", *(query for query, _ in DEAL_FILTERS)])
async def test_export_with_filter_matches_list(client: httpx.AsyncClient, query: str) -> None:
    deals = await list_deals(client, query)

    assert await export_deals(client, query) == deals
    response = await client.get(f"/deals/export?{query}", headers=ACCEPT_CSV)
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [LAST_ID - int(row["id"]) for row in rows] == [deal["id"] for deal in reversed(deals)]


async def test_export_ndjson_line_equals_deal_response(client: httpx.AsyncClient) -> None:
    lines = (
        await client.get("/deals/export?hotel_id=1", headers=ACCEPT_NDJSON)
    ).content.splitlines()

    assert len(lines) == 15
    for line in lines:
        one = await client.get(f"/deals/{json.loads(line)['id']}")
        assert one.content == line


async def test_export_csv_row_has_columns_of_import(
    client: httpx.AsyncClient, catalog: Catalog
) -> None:
    response = await client.get("/deals/export", headers=ACCEPT_CSV)
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    deal = catalog.deals[-1]
    hotel = catalog.hotels[deal.hotel_id]

    assert set(rows[0]) == set(NAMES)
    assert len(rows) == len(catalog.deals)
    assert rows[0] == {
        "id": str(LAST_ID - deal.id),
        "hotel_name": hotel.name,
        "hotel_city": hotel.city,
        "hotel_country": hotel.country,
        "hotel_star_rating": str(deal.star_rating),
        "hotel_phone": hotel.phone,
        "room_type": deal.room_type,
        "price_per_night": f"{deal.price_per_night:.2f}",
        "original_price": "950.00",
        "discount_percent": str(deal.discount_percent),
        "checkin_date": str(deal.checkin_date),
        "checkout_date": "2028-01-01",
        "is_available": str(deal.is_available),
        "categories": ",".join(deal.categories),
        "created_at": f"{deal.created_at:%Y-%m-%d %H:%M:%S}",
    }


async def test_export_without_matches_returns_csv_header_or_nothing(
    client: httpx.AsyncClient,
) -> None:
    table = await client.get("/deals/export?hotel_id=999999", headers=ACCEPT_CSV)
    lines = await client.get("/deals/export?hotel_id=999999", headers=ACCEPT_NDJSON)

    assert table.text.startswith("id,hotel_name,")
    assert table.text.count("\n") == 1
    assert lines.content == b""


@pytest.mark.parametrize(
    ("accept", "content_type", "name"),
    [
        ("*/*", "text/csv; charset=utf-8; header=present", "deals.csv"),
        ("application/*", "application/x-ndjson; charset=utf-8", "deals.ndjson"),
        (
            "text/csv;q=0.5, application/x-ndjson",
            "application/x-ndjson; charset=utf-8",
            "deals.ndjson",
        ),
    ],
)
async def test_export_accept_header_selects_format(
    client: httpx.AsyncClient, accept: str, content_type: str, name: str
) -> None:
    response = await client.get("/deals/export?hotel_id=1", headers={"Accept": accept})

    assert response.headers["content-type"] == content_type
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert response.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("accept", ["application/json", "text/csv;q=0", "text/csv;charset=ascii"])
async def test_export_unsupported_accept_header_returns_406(
    client: httpx.AsyncClient, accept: str
) -> None:
    response = await client.get("/deals/export", headers={"Accept": accept})

    assert response.status_code == 406
    assert response.json()["error"]["code"] == "NOT_ACCEPTABLE"


@pytest.mark.parametrize("form", [ACCEPT_CSV, ACCEPT_NDJSON])
async def test_export_accept_encoding_gzip_returns_gzip(
    client: httpx.AsyncClient, form: dict[str, str]
) -> None:
    plain = await client.get("/deals/export", headers={**form, "Accept-Encoding": "identity"})
    request = client.stream("GET", "/deals/export", headers={**form, "Accept-Encoding": "gzip"})
    async with request as compressed:
        content = b"".join([piece async for piece in compressed.aiter_raw()])

    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(content) == plain.content
    assert len(content) < len(plain.content) / 3


async def test_export_head_request_runs_no_statement(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        head = await client.head("/deals/export", headers=ACCEPT_CSV)
    get = await client.get("/deals/export", headers=ACCEPT_CSV)

    assert (head.status_code, head.content) == (200, b"")
    assert [line["sql_statements"] for line in lines if line["event"] == "request"] == [0]
    ignored = {"x-request-id", "server-timing", "date"}
    assert set(head.headers) - ignored == set(get.headers) - ignored


@pytest.mark.parametrize("name", ["skip", "limit", "cursor", "count", "sort", "ctiy"])
async def test_export_page_or_unknown_parameter_returns_422(
    client: httpx.AsyncClient, name: str
) -> None:
    response = await client.get(f"/deals/export?{name}=1")

    assert response.status_code == 422
    assert response.json()["error"]["details"][0]["field"] == f"query.{name}"


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_export_write_method_returns_405(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/deals/export", json={})

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
