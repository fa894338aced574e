from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs

from app.http.exception_handlers import install
from app.http.middleware import RequestMiddleware

pytestmark = pytest.mark.api


async def access_log_line(
    client: httpx.AsyncClient, path: str, **headers: str
) -> dict[str, object]:
    with capture_logs() as lines:
        await client.get(path, headers=headers)
    [line] = [line for line in lines if line["event"] == "request"]
    return dict(line)


async def test_access_log_request_is_one_line_with_route_template(
    client: httpx.AsyncClient,
) -> None:
    line = await access_log_line(client, "/deals/1?fields=x", **{"X-Request-ID": "abc"})

    assert line["route"] == "/deals/{deal_id}"
    assert line["method"] == "GET"
    assert line["status"] == 422
    assert line["request_id"] == "abc"
    assert isinstance(line["duration_ms"], float)


async def test_access_log_unknown_path_is_omitted(client: httpx.AsyncClient) -> None:
    line = await access_log_line(client, "/secret-token-in-path")

    assert line["route"] is None
    assert "secret-token-in-path" not in str(line)


DEFAULT_LIMIT, FILES_LIMIT = 1024, 4096


@pytest.fixture
async def limited_client() -> AsyncIterator[httpx.AsyncClient]:
    """An application with a path whose bodies may be larger."""
    app = FastAPI()
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=DEFAULT_LIMIT,
        larger_bodies={"/files": FILES_LIMIT},
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


async def one_byte_chunks(length: int) -> AsyncIterator[bytes]:
    for _ in range(length):
        yield b"x"


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("path", "limit"),
    [("/files", FILES_LIMIT), ("/files/1", DEFAULT_LIMIT), ("/others", DEFAULT_LIMIT)],
)
async def test_body_limit_of_path_exceeded_returns_413(
    limited_client: httpx.AsyncClient, path: str, limit: int, declared: bool
) -> None:
    async def post(length: int) -> httpx.Response:
        return await limited_client.post(
            path, content=bytes(length) if declared else one_byte_chunks(length)
        )

    fits, too_large = await post(limit), await post(limit + 1)

    assert (fits.status_code, fits.json()) == (200, limit)
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
