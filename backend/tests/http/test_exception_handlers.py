from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import app_client
from tests.support.timeouts import TIMEOUT

from app.http.exception_handlers import install
from app.http.middleware import BodyLimit, RequestMiddleware

pytestmark = pytest.mark.api


def assert_envelope(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]


@pytest.fixture
async def failing_client() -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application with a bug."""
    app = FastAPI()
    app.add_middleware(RequestMiddleware, body=BodyLimit(1024, TIMEOUT), server_timing=False)
    install(app)

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("SELECT secret FROM internals")

    async with app_client(app) as client:
        yield client


class TestErrorEnvelope:
    async def test_unknown_path_returns_404(self, client: httpx.AsyncClient) -> None:
        for path in ("/nothing", "/deals/", "/deals/1/2", "/%00", "/%ff", "http://test//deals"):
            assert_envelope(await client.get(path), 404, "NOT_FOUND")

    async def test_wrong_method_returns_405_with_allow(self, client: httpx.AsyncClient) -> None:
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW"):
            response = await client.request(method, "/deals")
            assert_envelope(response, 405, "METHOD_NOT_ALLOWED")
            assert response.headers["allow"] == "GET, HEAD, POST"
        response = await client.put("/deals/1")
        assert response.headers["allow"] == "DELETE, GET, HEAD, PATCH"

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PATCH", "/deals/stats", "GET, HEAD"),
            ("DELETE", "/deals/stats", "GET, HEAD"),
            ("GET", "/deals/bulk", "POST"),
            ("PATCH", "/deals/bulk", "POST"),
        ],
    )
    async def test_wrong_method_of_reserved_path_returns_405(
        self, client: httpx.AsyncClient, method: str, path: str, allowed: str
    ) -> None:
        response = await client.request(method, path)

        assert_envelope(response, 405, "METHOD_NOT_ALLOWED")
        assert response.headers["allow"] == allowed

    async def test_unhandled_exception_returns_500_without_details(
        self, failing_client: httpx.AsyncClient
    ) -> None:
        response = await failing_client.get("/bug", headers={"X-Request-ID": "trace-me-1"})

        assert_envelope(response, 500, "INTERNAL_ERROR")
        assert "secret" not in response.text
        assert response.headers["x-request-id"] == "trace-me-1"


async def test_head_deals_returns_headers_of_get_without_body(client: httpx.AsyncClient) -> None:
    get = await client.get("/deals")
    head = await client.head("/deals")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["link"] == get.headers["link"]


class TestRequestId:
    @pytest.mark.parametrize(
        "given", ["b1946ac9-2d1f-4f0e-9a53-6a3d0c6a2f11", "a.b_c:D-9", "x" * 64]
    )
    async def test_valid_id_is_kept(self, client: httpx.AsyncClient, given: str) -> None:
        response = await client.get("/health", headers={"X-Request-ID": given})

        assert response.headers["x-request-id"] == given

    @pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "a\tb", "é", "{}"])
    async def test_invalid_id_is_replaced(self, client: httpx.AsyncClient, given: str) -> None:
        response = await client.get("/health", headers={b"X-Request-ID": given.encode("latin-1")})

        assert response.headers["x-request-id"] != given
        assert len(response.headers["x-request-id"]) == 32

    async def test_generated_ids_are_unique(self, client: httpx.AsyncClient) -> None:
        ids = {(await client.get("/health")).headers["x-request-id"] for _ in range(5)}

        assert len(ids) == 5


@pytest.mark.parametrize("name", ["schema", "docs"])
async def test_documentation_returns_200(client: httpx.AsyncClient, name: str) -> None:
    path = {"schema": "/openapi.json", "docs": "/docs"}[name]

    assert (await client.get(path)).status_code == 200
