from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs
from tests.support.timeouts import TIMEOUT

from app.http.exception_handlers import install
from app.http.middleware import BodyLimit, RequestMiddleware

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
    """Yield a client of an application with a larger body limit for one path."""
    app = FastAPI()
    app.add_middleware(
        RequestMiddleware,
        body=BodyLimit(DEFAULT_LIMIT, TIMEOUT),
        larger_bodies={"/files": BodyLimit(FILES_LIMIT, TIMEOUT)},
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


@pytest.mark.parametrize(
    ("headers", "target", "status", "code"),
    [
        ({"X-Large": "x" * 33_000}, "/deals/1", 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
        (
            {f"X-{number}": "" for number in range(101)},
            "/deals/1",
            431,
            "REQUEST_HEADER_FIELDS_TOO_LARGE",
        ),
        ({}, "/deals?q=" + "x" * 33_000, 414, "URI_TOO_LONG"),
        ({}, "/deals/" + "%41" * 11_000, 414, "URI_TOO_LONG"),
    ],
)
async def test_head_over_limit_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str], target: str, status: int, code: str
) -> None:
    answer = await client.get(target, headers={**headers, "X-Request-ID": "mine"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"] == "mine"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head_within_limit_is_served(client: httpx.AsyncClient) -> None:
    headers = {f"X-{number}": "x" * 300 for number in range(90)}

    assert (await client.get("/deals?count=none", headers=headers)).status_code == 200
