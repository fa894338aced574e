from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs

from app.http.exception_handlers import install
from app.http.middleware import RequestMiddleware

pytestmark = pytest.mark.api


async def access_line(client: httpx.AsyncClient, path: str, **headers: str) -> dict[str, object]:
    with capture_logs() as lines:
        await client.get(path, headers=headers)
    [line] = [line for line in lines if line["event"] == "request"]
    return dict(line)


async def test_a_request_is_one_line_with_the_route_template(client: httpx.AsyncClient) -> None:
    line = await access_line(client, "/deals/1?fields=x", **{"X-Request-ID": "abc"})

    assert line["route"] == "/deals/{deal_id}"
    assert line["method"] == "GET"
    assert line["status"] == 422
    assert line["request_id"] == "abc"
    assert isinstance(line["duration_ms"], float)


async def test_an_unknown_path_has_no_route_and_is_not_logged(client: httpx.AsyncClient) -> None:
    line = await access_line(client, "/secret-token-in-path")

    assert line["route"] is None
    assert "secret-token-in-path" not in str(line)


LIMIT, LARGER = 1024, 4096


@pytest.fixture
async def limited() -> AsyncIterator[httpx.AsyncClient]:
    """An application with a path whose bodies may be larger."""
    app = FastAPI()
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=LIMIT,
        larger_bodies={"/files": LARGER},
        server_timing=False,
    )
    install(app)

    @app.post("/files")
    @app.post("/files/1")
    @app.post("/others")
    async def length(request: Request) -> int:
        return len(await request.body())

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def in_chunks(length: int) -> AsyncIterator[bytes]:
    for _ in range(length):
        yield b"x"


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("path", "limit"), [("/files", LARGER), ("/files/1", LIMIT), ("/others", LIMIT)]
)
async def test_a_path_has_its_own_limit(
    limited: httpx.AsyncClient, path: str, limit: int, declared: bool
) -> None:
    async def post(length: int) -> httpx.Response:
        return await limited.post(path, content=bytes(length) if declared else in_chunks(length))

    fits, too_large = await post(limit), await post(limit + 1)

    assert (fits.status_code, fits.json()) == (200, limit)
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
