"""Load shedding: requests beyond the limit."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import pytest
from sqlalchemy import URL
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from tests.support.databases import as_text, dsn, temporary_database
from tests.support.local_servers import LocalServer, local_server
from tests.support.metrics import MetricsScrape, scrape_metrics
from tests.support.servers import plain_uvicorn
from tests.support.timeouts import NO_LIMIT, TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.load_shedding import LoadSheddingMiddleware
from app.http.middleware import security_headers

pytestmark = pytest.mark.integration

MAX_REQUESTS = 2


@pytest.fixture(scope="module")
async def url(server_url: URL, template: str) -> AsyncIterator[URL]:
    """Create a database for the tests of this module. They lock its tables and store nothing."""
    async with temporary_database(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def limited_settings(
    url: URL, on_database: Callable[[URL], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Return settings with two slots, and without a deadline for the arrival of a request."""
    changed = {
        "data_dir": tmp_path_factory.mktemp("overload"),
        "max_requests_in_progress": MAX_REQUESTS,
        "request_arrival_timeout": NO_LIMIT,
    }
    return on_database(url).model_copy(update=changed)


@pytest.fixture(scope="module")
async def server(limited_settings: Settings) -> AsyncIterator[LocalServer]:
    async with local_server(limited_settings) as server:
        yield server


@asynccontextmanager
async def lock_table(url: URL, table: str) -> AsyncIterator[None]:
    """Keep other connections from reading a table."""
    connection = await asyncpg.connect(dsn(url))
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"LOCK TABLE {table}")
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def wait_for_requests_in_progress(server: LocalServer, count: int) -> None:
    async def are_in_progress() -> bool:
        return bool(server.app.state.services.limiter.in_progress == count)

    await wait_for(are_in_progress, f"{count} requests are in progress")


@asynccontextmanager
async def saturate(url: URL, server: LocalServer) -> AsyncIterator[list[asyncio.Task[int]]]:
    """Fill all slots with requests that wait until the end of the block."""
    async with server.client() as client:

        async def ask() -> int:
            return (await client.get("/deals")).status_code

        async with lock_table(url, "deals"):
            pending = [asyncio.create_task(ask()) for _ in range(MAX_REQUESTS)]
            await wait_for_requests_in_progress(server, MAX_REQUESTS)
            yield pending
        await asyncio.gather(*pending)


def requests_shed(found: MetricsScrape) -> float:
    """Return how many requests this process has refused so far."""
    return found.value("deals_http_requests_shed_total")


INVALID_REQUESTS = [
    b"GET http://[ HTTP/1.1",
    b"GET http://x:99999999/deals HTTP/1.1",
    b"GET //:99999999/ HTTP/1.1",
    "GET /ü HTTP/1.1".encode(),
    b"CONNECT /deals HTTP/1.1",
    b"GET /deals HTTP/9.9",
    b"GET /deals HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket",
]


class TestLoadShedding:
    async def test_request_over_limit_returns_503_at_once(
        self, url: URL, server: LocalServer
    ) -> None:
        async with server.client() as client:
            async with saturate(url, server) as pending:
                before = requests_shed(await scrape_metrics(client))
                refused = await client.get("/deals/1", headers={"X-Request-ID": "mine"})
                # Health checks still get answers.
                assert (await client.get("/health")).status_code == 200
                during = await scrape_metrics(client)
                assert not any(each.done() for each in pending)
            assert [each.result() for each in pending] == [200, 200]
            # The same connection gets an answer again.
            assert (await client.get("/deals/1")).status_code == 404

        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-request-id"] == "mine"
        assert refused.headers["content-type"] == "application/json"
        assert refused.json() == {
            "error": {
                "code": "SERVICE_UNAVAILABLE",
                "message": "Too many requests are in progress, try again shortly",
                "request_id": "mine",
            }
        }
        assert requests_shed(during) == before + 1
        assert during.value("deals_http_requests_in_progress") == MAX_REQUESTS

    async def test_head_post_and_request_ids_over_limit_return_503(
        self, url: URL, server: LocalServer
    ) -> None:
        async with (
            server.client() as client,
            saturate(url, server),
        ):
            get = await client.get("/deals", headers={"X-Request-ID": "no\tsane one"})
            head = await client.head("/deals")
            # The server reads and drops the body, and keeps the connection.
            post = await client.post("/deals", content=b"x" * 1_000_000)
            twice = [("X-Request-ID", "first"), ("X-Request-ID", "second")]
            named = await client.get("/deals", headers=twice)

        assert {each.status_code for each in (head, post, get, named)} == {503}
        assert head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]
        assert len(get.headers["x-request-id"]) == 32
        assert named.headers["x-request-id"] == "first"

    async def test_refused_post_with_late_body_keeps_its_connection(
        self, url: URL, server: LocalServer
    ) -> None:
        head = b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        async with saturate(url, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for _ in range(2):
                writer.write(head)
                await asyncio.sleep(0.1)
                writer.write(b"later")
                async with asyncio.timeout(TIMEOUT):
                    answer = await reader.readuntil(b"}}")
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"connection: close" not in answer
            writer.close()
            await writer.wait_closed()

    async def test_refusal_has_headers_of_every_response(
        self, url: URL, server: LocalServer
    ) -> None:
        async with server.client() as client:
            answer = await client.get("/deals/1")
            async with saturate(url, server):
                refused = await client.get("/deals/1")

        assert set(refused.headers) - set(answer.headers) == {"retry-after"}
        assert set(answer.headers) - set(refused.headers) == {"server-timing"}

    async def test_client_that_reads_nothing_holds_no_slot(self) -> None:
        limiter = ConcurrencyLimiter(1)
        is_sending, never = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert limiter.in_progress == 1
            await Response("ok")(scope, receive, send)

        async def send(_message: Message) -> None:
            is_sending.set()
            await never.wait()

        scope = {"type": "http", "method": "GET", "path": "/deals", "headers": []}
        serve = LoadSheddingMiddleware(app, limiter, security_headers())
        serving = asyncio.create_task(serve(scope, Mock(), send))
        await is_sending.wait()

        assert limiter.in_progress == 0
        serving.cancel()
        await asyncio.wait({serving})
        assert limiter.in_progress == 0

    async def test_invalid_request_takes_no_slot(self, server: LocalServer) -> None:
        for request_line in INVALID_REQUESTS * MAX_REQUESTS:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(TIMEOUT):
                await reader.read()
            writer.close()
            await writer.wait_closed()
        async with server.client() as client:
            assert (await client.get("/deals")).status_code == 200

        assert server.app.state.services.limiter.in_progress == 0


class TestPipelining:
    async def test_responses_come_in_request_order(self, server: LocalServer) -> None:
        """Pipelined requests get responses in order, at any limit (RFC 9112, section 9.3.2)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        request = b"GET /deals/%d HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(b"".join(request % number for number in range(1, 6)))
        answers = []
        for _ in range(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answers.append(json.loads(await reader.readexactly(length))["error"]["message"])
        writer.close()
        await writer.wait_closed()

        assert answers == [f"Deal {number} does not exist" for number in range(1, 6)]

    async def test_second_request_over_limit_returns_503(
        self, url: URL, server: LocalServer
    ) -> None:
        """The server refuses the second of two pipelined requests in its turn."""
        async with saturate(url, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /deals HTTP/1.1\r\nHost: x\r\n\r\n"
            )
            async with asyncio.timeout(TIMEOUT):
                first = await reader.readuntil(b"}")
                second = await reader.readuntil(b"}}")
            writer.close()
            await writer.wait_closed()

        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        assert second.startswith(b"HTTP/1.1 503 ")


class TestPlainUvicorn:
    async def test_parallel_requests_over_limit_return_503(self, url: URL, tmp_path: Path) -> None:
        async with plain_uvicorn(as_text(url), tmp_path, MAX_REQUESTS_IN_PROGRESS="1") as server:
            connections = [
                await asyncio.open_connection("127.0.0.1", server.port) for _ in range(40)
            ]
            for _, writer in connections:
                writer.write(
                    b"GET /deals?limit=100 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
            async with asyncio.timeout(TIMEOUT):
                answers = [await reader.read() for reader, _ in connections]
            for _, writer in connections:
                writer.close()

        refused = [each for each in answers if each.startswith(b"HTTP/1.1 503 ")]
        assert len(refused) >= 10
        assert len(refused) < len(answers)
        for each in refused:
            head, _, body = each.partition(b"\r\n\r\n")
            assert b"retry-after: 1\r\n" in head
            assert json.loads(body)["error"]["code"] == "SERVICE_UNAVAILABLE"
