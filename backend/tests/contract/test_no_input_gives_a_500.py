"""Malformed requests get no 5xx, and every error has the envelope."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import quote, quote_from_bytes, unquote

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.types import Message
from tests.conftest import Catalog
from tests.support.databases import as_text

from app.core.config import Settings
from app.http.middleware import MAX_TARGET_BYTES
from app.main import create_app
from app.schemas.deals import DealQuery

pytestmark = pytest.mark.api

PATHS = st.sampled_from(
    [
        *("/deals", "/deals/stats", "/deals/export", "/deals/1"),
        *("/hotels", "/hotels/1", "/categories", "/health"),
        "/imports",
    ]
)
NAMES = st.sampled_from([*DealQuery.model_fields, "state", "unknown", "", "city[]", "é"])
VALUES = st.one_of(
    st.text(max_size=30).map(lambda text: quote(text.encode("utf-8", "surrogatepass"))),
    st.binary(max_size=30).map(quote_from_bytes),
    st.integers().map(str),
    st.decimals().map(str),
    st.floats().map(str),
    st.dates().map(str),
    st.sampled_from(
        [
            "%00",
            "%",
            "%zz",
            "%ff%fe",
            "%ed%a0%80",
            "1e9999",
            "9" * 5000,
            "-0",
            "٣",
            "NaN",
            "x" * 20_000,
        ]
    ),
)


async def status_and_body(app: FastAPI, path: str, query: str = "") -> tuple[int, bytes]:
    """Send these exact bytes to `app` as a server would. HTTP clients would correct them."""
    sent: list[Message] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"test")],
        "server": ("test", 80),
        "client": ("test", 1),
    }

    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        for message in received:
            return message
        # The client stays connected.
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body


_TOO_LONG = {414}


def _is_too_long(path: str, query: str = "") -> bool:
    return len(path) + len(query) > MAX_TARGET_BYTES


@pytest.fixture(scope="module")
async def app(catalog: Catalog, settings: Settings) -> AsyncIterator[FastAPI]:
    url = SecretStr(as_text(catalog.url))
    app = create_app(settings.model_copy(update={"database_url": url}))
    async with app.router.lifespan_context(app):
        yield app


@hypothesis_settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=PATHS, parameters=st.lists(st.tuples(NAMES, VALUES), max_size=4))
async def test_random_query_returns_200_or_422(
    app: FastAPI, path: str, parameters: list[tuple[str, str]]
) -> None:
    query = "&".join(f"{quote(name)}={value}" for name, value in parameters)

    status, body = await status_and_body(app, path, query)

    assert status in (_TOO_LONG if _is_too_long(path, query) else {200, 422}), body
    if status == 422:
        assert json.loads(body)["error"]["code"] == "VALIDATION_ERROR"


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(["/deals/{}", "/imports/{}", "/imports/{}/rejects", "/imports/{}/events"]),
    segment=st.one_of(VALUES, st.just("..%2f..%2fetc%2fpasswd")),
)
async def test_random_path_segment_returns_200_404_or_422(
    app: FastAPI, path: str, segment: str
) -> None:
    path = path.format(segment)

    status, body = await status_and_body(app, path)

    assert status in (_TOO_LONG if _is_too_long(path) else {200, 404, 422}), body


@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": '"' * 5000},
        {"If-None-Match": ",,,,"},
        {"If-None-Match": "\xff\xfe"},
        {"X-Request-ID": "\xff" * 100},
        {"Accept": "image/png"},
        {"Content-Type": "x" * 500, "Content-Length": "0"},
    ],
)
async def test_malformed_headers_return_200(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}

    assert (await client.get("/deals/1", headers=raw)).status_code == 200
