"""More requests than the service carries, and clients that take their time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import URL
from tests.support.databases import dsn, temporary_database
from tests.support.local_servers import LocalServer, local_server
from tests.support.metrics import MetricsScrape, scrape_metrics
from tests.support.timeouts import NO_LIMIT, TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.core.errors import OverloadedError

pytestmark = pytest.mark.integration

MAX_REQUESTS = 2
# Seconds that the server with a short timeout waits for a request.
ARRIVAL_TIMEOUT = 0.2


@pytest.fixture(scope="module")
async def url(server_url: URL, template: str) -> AsyncIterator[URL]:
    """A database that the tests here share: they lock its tables and store nothing."""
    async with temporary_database(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def limited_settings(
    url: URL, on_database: Callable[[URL], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings with room for two requests at a time, which may take for ever to arrive."""
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


@pytest.fixture(scope="module")
async def short_timeout_server(limited_settings: Settings) -> AsyncIterator[LocalServer]:
    """A server that counts its seconds from a request's first byte, however long that takes."""
    changed = {"request_arrival_timeout": ARRIVAL_TIMEOUT}
    async with local_server(
        limited_settings.model_copy(update=changed), wait_for_data=True
    ) as server:
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
        return bool(server.app.state.limiter.in_progress == count)

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
                # Health checks are answered meanwhile.
                assert (await client.get("/health")).status_code == 200
                during = await scrape_metrics(client)
                assert not any(each.done() for each in pending)
            assert [each.result() for each in pending] == [200, 200]
            # The same connection is served again.
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
            head = await client.head("/deals")
            post = await client.post("/deals", content=b"x" * 1_000_000)
            again = await client.get("/deals", headers={"X-Request-ID": "no\tsane one"})
            twice = [("X-Request-ID", "first"), ("X-Request-ID", "second")]
            named = await client.get("/deals", headers=twice)

        assert (head.status_code, head.content) == (503, b"")
        assert int(head.headers["content-length"]) > 0
        # Its body would have to be read first.
        assert (post.status_code, post.headers["connection"]) == (503, "close")
        assert again.status_code == 503
        assert len(again.headers["x-request-id"]) == 32
        assert (named.status_code, named.headers["x-request-id"]) == (503, "first")

    async def test_early_retry_is_buffered_until_retry_after(
        self, url: URL, server: LocalServer
    ) -> None:
        """The body is larger than the read buffer, and sent right after the refusal."""
        loop = asyncio.get_running_loop()
        body = json.dumps({"hotel_name": "x" * 500_000}).encode()
        post = (
            b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        async with saturate(url, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            asked = loop.time()
            writer.write(b"GET /deals HTTP/1.1\r\nHost: x\r\n\r\n")
            refused = await reader.readuntil(b"}}")
        # There is room when its time has come.
        writer.write(post + body + b"GET /deals/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            posted = await reader.readuntil(b"\r\n\r\n")
            waited = loop.time() - asked
            after = await reader.readuntil(b"Deal 1 does not exist")
        writer.close()
        await writer.wait_closed()

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert waited >= OverloadedError.retry_after
        assert posted.startswith(b"HTTP/1.1 422 ")
        assert b"HTTP/1.1 404 " in after

    @pytest.mark.parametrize("proxies", [(), ("127.0.0.0/8",)], ids=["client", "proxy"])
    async def test_early_retry_is_refused_except_from_proxy(
        self, url: URL, limited_settings: Settings, proxies: tuple[str, ...]
    ) -> None:
        """A proxy's next request may be of another client."""
        changed = {"max_requests_in_progress": 3, "forwarded_allow_ips": proxies}
        request = b"GET /categories HTTP/1.1\r\nHost: x\r\n\r\n"
        async with (
            local_server(limited_settings.model_copy(update=changed)) as server,
            server.client() as client,
        ):
            async with lock_table(url, "deals"):
                pending = [asyncio.create_task(client.get("/deals")) for _ in range(2)]
                async with lock_table(url, "categories"):
                    pending.append(asyncio.create_task(client.get("/categories")))
                    await wait_for_requests_in_progress(server, 3)
                    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writer.write(request)
                    assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 503 ")
                    if not proxies:
                        writer.write(request)
                # There is room for one, and still not for everybody.
                await wait_for_requests_in_progress(server, 2)
                if proxies:
                    writer.write(request)
                async with asyncio.timeout(TIMEOUT):
                    answer = await reader.readuntil(b"\r\n\r\n")
            await asyncio.gather(*pending)
            writer.close()
            await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 200 " if proxies else b"HTTP/1.1 503 ")

    async def test_proxy_connection_survives_refusals(
        self, url: URL, limited_settings: Settings
    ) -> None:
        """The deadline of a request that was refused is not that of the next ones."""
        changed = {
            "request_arrival_timeout": ARRIVAL_TIMEOUT,
            "forwarded_allow_ips": ("127.0.0.0/8",),
        }
        async with local_server(
            limited_settings.model_copy(update=changed), wait_for_data=True
        ) as server:
            async with saturate(url, server):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                for _ in range(6):
                    writer.write(b"GET /deals HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 503 ")
                    await asyncio.sleep(ARRIVAL_TIMEOUT / 4)
            writer.write(b"GET /deals/1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 404 ")
            writer.close()
            await writer.wait_closed()

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

        assert server.app.state.limiter.in_progress == 0


class TestPipelining:
    async def test_responses_come_in_request_order(self, server: LocalServer) -> None:
        """Pipelined ones (RFC 9112, section 9.3.2) are answered in turn, whatever the limit."""
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
        """The second of two pipelined requests, when its turn comes."""
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

    async def test_many_requests_over_limit_close_connection(
        self, url: URL, server: LocalServer
    ) -> None:
        async with saturate(url, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /deals HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            async with asyncio.timeout(TIMEOUT):
                answers = await reader.read()
        writer.close()

        assert answers.count(b"HTTP/1.1 503 ") == 2
        assert answers.count(b"connection: close") == 1

    async def test_request_after_closing_response_is_ignored(
        self, url: URL, server: LocalServer
    ) -> None:
        """The client repeats it on another connection (RFC 9112, 9.6): it must run once."""
        head = b"Host: x\r\nContent-Type: %s\r\nContent-Length: 3\r\n\r\nid,"
        async with saturate(url, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /deals HTTP/1.1\r\n" + head % b"application/json")
            writer.write(b"POST /imports HTTP/1.1\r\n" + head % b"text/csv")
            async with asyncio.timeout(TIMEOUT):
                answers = await reader.read()
        writer.close()
        async with server.client() as client:
            imports = (await client.get("/imports")).json()

        assert answers.count(b"HTTP/1.1 ") == 1
        assert imports["items"] == []


async def send_and_read(server: LocalServer, sent: bytes) -> bytes:
    """Return the bytes that come until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    async with asyncio.timeout(TIMEOUT):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


class TestRequestArrivalTimeout:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (b"\r\n", b""),
            (b"PUT /imports HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", b"HTTP/1.1 405 "),
            (b"GET /deals HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"HTTP/1.1 408 Request Timeout\r\n"),
            (b"GET /de", b"HTTP/1.1 408 Request Timeout\r\n"),
        ],
    )
    async def test_incomplete_request_is_disconnected(
        self, short_timeout_server: LocalServer, sent: bytes, answer: bytes
    ) -> None:
        received = await send_and_read(short_timeout_server, sent)

        assert received.startswith(answer)
        assert bool(received) == bool(answer)

    async def test_stalled_upload_is_disconnected(self, short_timeout_server: LocalServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", short_timeout_server.port)
        head = b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        writer.write(head + b"Content-Length: 100\r\n\r\nid,")
        async with asyncio.timeout(TIMEOUT):
            await reader.read()
        writer.close()
        await writer.wait_closed()

    @pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n\r\n"])
    async def test_idle_connection_is_closed(self, limited_settings: Settings, sent: bytes) -> None:
        settings = limited_settings.model_copy(update={"request_arrival_timeout": ARRIVAL_TIMEOUT})
        async with local_server(settings, wait_for_data=bool(sent), timeout_keep_alive=1) as server:
            received = await send_and_read(server, sent)

        assert received.startswith(b"HTTP/1.1 200 OK\r\n" if sent else b"")
        assert bool(received) == bool(sent)

    async def test_missing_body_holds_no_slot_or_connection(
        self, short_timeout_server: LocalServer
    ) -> None:
        """No slot of the concurrency limit, and no connection to the database."""
        head = b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connections = []
        for _ in range(MAX_REQUESTS):
            reader, writer = await asyncio.open_connection("127.0.0.1", short_timeout_server.port)
            writer.write(head + b"Content-Length: 100\r\n\r\n{")
            connections.append((reader, writer))
        async with short_timeout_server.client() as client:

            async def has_capacity() -> bool:
                return (await client.get("/deals")).status_code == 200

            await wait_for(has_capacity, "a request is admitted")
            found = await scrape_metrics(client)
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()

        assert found.value("deals_db_pool_connections", pool="write", state="in_use") == 0

    @pytest.mark.slow
    async def test_slow_upload_is_accepted(self, own_settings: Settings) -> None:
        """An upload may take longer than the timeout if its bytes keep coming."""
        # So far from what lies between two pieces that a busy machine makes no difference.
        changed = {"request_arrival_timeout": 5.0}
        async with local_server(own_settings.model_copy(update=changed)) as server:
            await upload_slowly(server, seconds=6)


async def upload_slowly(server: LocalServer, *, seconds: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = b"id,hotel_name\n" + b"1,x\n" * 10
    writer.write(
        b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    for index in range(len(body)):
        writer.write(body[index : index + 1])
        await asyncio.sleep(seconds / len(body))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 202 ")
