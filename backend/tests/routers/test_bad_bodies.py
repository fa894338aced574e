"""Invalid bodies: each is refused with its field, and changes nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.conftest import Catalog, app_client
from tests.routers.bodies import DEAL, HOTEL
from tests.support.databases import as_text
from tests.support.stored_rows import fetch_catalog_rows

from app.core.config import Settings
from app.main import create_app

pytestmark = pytest.mark.api

INVALID_NUMBERS: list[Any] = [
    True,
    None,
    "4",
    4.5,
    2.0**60,  # a float where the schema expects an integer
    [],
    {},
    -1,
    2**70,
    float("nan"),
    float("inf"),
]
INVALID_PRICES: list[Any] = [
    True,
    None,
    0,
    -1,
    "0.00",
    "1.005",
    1.005,
    "1e2",
    " 1",
    "١",
    "1_0",
    "",
    "NaN",
    float("nan"),
    float("inf"),
    10**8,
    2**70,
    "1" * 100_000,
    [],
]
INVALID_TEXTS: list[Any] = [None, "", "   ", "a\0b", 5, True, [], "x" * 51, "x" * 100_000, "\ud800"]
INVALID_DATES: list[Any] = [
    None,
    0,
    True,
    "",
    "tomorrow",
    "2026-02-30",
    "2026-12-01T00:00:00",
    "\0",
]

INVALID_DEAL_VALUES: list[tuple[str, list[Any]]] = [
    ("external_id", [True, "4", 0, -1, 2**63, 2**70, 1.5]),
    ("hotel_id", [*INVALID_NUMBERS, 0, 2**63]),
    ("room_type", INVALID_TEXTS),
    ("star_rating", [*INVALID_NUMBERS, 0, 6]),
    ("price_per_night", INVALID_PRICES),
    ("original_price", INVALID_PRICES),
    ("discount_percent", [*INVALID_NUMBERS, 101]),
    ("checkin_date", INVALID_DATES),
    ("checkout_date", [*INVALID_DATES, "2026-12-01", "2020-01-01"]),
    ("is_available", [None, 0, 1, "true", "yes", []]),
    (
        "categories",
        [None, "luxury", [1], [""], ["a\0"], ["x" * 51], ["a"] * 21, {"a": 1}, ["\u0958" * 50]],
    ),
    ("unknown", [1]),
]
INVALID_FIELDS = [(field, value) for field, values in INVALID_DEAL_VALUES for value in values]


@pytest.fixture(scope="module")
async def api(catalog: Catalog, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    url = SecretStr(as_text(catalog.url))
    async with app_client(create_app(settings.model_copy(update={"database_url": url}))) as client:
        yield client


async def send_json(api: httpx.AsyncClient, method: str, url: str, body: Any) -> httpx.Response:
    """Send JSON as Python writes it: with NaN, infinities and lone surrogates."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await api.request(
        method, url, content=content, headers={"Content-Type": "application/json"}
    )


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("field", "value"),
    INVALID_FIELDS,
    ids=[f"{field}={str(value)[:20]!r}" for field, value in INVALID_FIELDS],
)
async def test_deal_body_invalid_field_returns_422(
    api: httpx.AsyncClient, catalog: Catalog, method: str, field: str, value: Any
) -> None:
    deal = catalog.deals[0]
    body = {field: value} if method == "PATCH" else {**DEAL, "hotel_id": 1, field: value}
    if method == "PATCH" and field == "checkout_date" and value == "2026-12-01":
        body["checkin_date"] = "2026-12-01"
    url = f"/deals/{deal.id}" if method == "PATCH" else "/deals"
    before = await fetch_catalog_rows(catalog.database)

    response = await send_json(api, method, url, body)

    assert response.status_code == 422, response.text
    fields = [detail["field"] for detail in response.json()["error"]["details"]]
    assert fields
    assert all(named.startswith(f"body.{field}") for named in fields), fields
    assert len(response.content) < 5000
    assert await fetch_catalog_rows(catalog.database) == before


@pytest.mark.parametrize("field", list(HOTEL))
@pytest.mark.parametrize("value", [None, "", "  ", "a\0", 5, True, "x" * 201, "\ud800"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_hotel_body_invalid_field_returns_422(
    api: httpx.AsyncClient, method: str, field: str, value: Any
) -> None:
    url = "/hotels/1" if method == "PATCH" else "/hotels"

    response = await send_json(api, method, url, {**HOTEL, field: value})

    assert response.status_code == 422
    assert [d["field"] for d in response.json()["error"]["details"]] == [f"body.{field}"]


REQUIRED_FIELDS = [
    field for field in DEAL if field not in {"external_id", "is_available", "categories"}
]


@pytest.mark.parametrize("field", REQUIRED_FIELDS)
async def test_deal_body_missing_field_returns_422(api: httpx.AsyncClient, field: str) -> None:
    body = {key: value for key, value in DEAL.items() if key != field}

    response = await send_json(api, "POST", "/deals", body)

    assert response.status_code == 422
    assert [d["field"] for d in response.json()["error"]["details"]] == [f"body.{field}"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"{",
        b'{"room_type": "x"',
        b'{"room_type": "x"}}',
        b"\xff\xfe",
        b'{"room_type": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\0",
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("url", ["/deals", "/hotels"])
async def test_body_not_an_object_returns_422(
    api: httpx.AsyncClient, url: str, body: bytes
) -> None:
    response = await send_json(api, "POST", url, body)

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("content_type", ["text/plain", "text/csv", "application/xml", "", "x"])
async def test_body_other_content_type_returns_415(
    api: httpx.AsyncClient, content_type: str
) -> None:
    response = await api.post(
        "/deals", content=json.dumps(DEAL), headers={"Content-Type": content_type}
    )

    assert response.status_code == 415
    assert response.json()["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 30_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_over_1_mib_returns_413(
    api: httpx.AsyncClient, size: int, chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 65_536):
            yield b" " * min(65_536, size - start)

    response = await api.post(
        "/deals",
        content=chunks() if chunked else b" " * size,
        headers={"Content-Type": "application/json"},
    )

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert response.headers["x-request-id"]
