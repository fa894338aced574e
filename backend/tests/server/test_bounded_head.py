"""Requests that arrive slowly, in part, or with a head over the limits."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.support.local_servers import LocalServer, local_server
from tests.support.metrics import scrape_metrics
from tests.support.timeouts import NO_LIMIT, TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.http.middleware import MAX_HEADERS, MAX_HEADERS_BYTES, MAX_TARGET_BYTES

pytestmark = pytest.mark.integration

MAX_REQUESTS = 2
# The seconds that a server with a short timeout waits for a request.
ARRIVAL_TIMEOUT = 0.2


@pytest.fixture
async def server(own_settings: Settings) -> AsyncIterator[LocalServer]:
    """Start a server without a practical limit on the arrival of a request."""
    changed = {"request_arrival_timeout": NO_LIMIT}
    async with local_server(own_settings.model_copy(update=changed)) as server:
        yield server


@pytest.fixture
async def short_timeout_server(own_settings: Settings) -> AsyncIterator[LocalServer]:
    """Start a server with a short limit on the arrival of a request, from its first byte."""
    changed = {
        "request_arrival_timeout": ARRIVAL_TIMEOUT,
        "max_requests_in_progress": MAX_REQUESTS,
    }
    async with local_server(own_settings.model_copy(update=changed), wait_for_data=True) as server:
        yield server


async def send_and_read(server: LocalServer, sent: bytes) -> bytes:
    """Return the bytes that arrive until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    async with asyncio.timeout(TIMEOUT):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


class TestHeadSize:
    @pytest.mark.parametrize(
        "sent",
        [
            b"GET /deals HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 100_000,
            b"GET /deals HTTP/1.1\r\n" + b"a:\r\n" * 400_000,
            b"GET /" + b"x" * 1_000_000,
        ],
        ids=["one header", "many headers", "target"],
    )
    async def test_endless_head_is_refused_while_it_arrives(
        self, server: LocalServer, sent: bytes
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        async with asyncio.timeout(TIMEOUT):
            answer = await reader.readuntil(b"}}")
        writer.transport.abort()

        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert b"\r\nconnection: close" in head
        assert b"\r\nx-content-type-options: nosniff" in head
        error = json.loads(body)["error"]
        assert error["code"] == "REQUEST_HEADER_FIELDS_TOO_LARGE"
        assert error["request_id"].encode() in head

    async def test_endless_later_head_is_disconnected_without_a_response(
        self, server: LocalServer
    ) -> None:
        """A client would read a response to the later request as one to the earlier request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /deals/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 404 ")
            writer.write(b"GET /" + b"x" * 100_000)
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async def test_head_over_limit_that_arrives_whole_is_refused_in_turn(
        self, server: LocalServer
    ) -> None:
        """The server keeps the connection."""
        async with server.client() as client:
            large = await client.get("/deals/1", headers={"X-Large": "x" * 40_000})
            many = await client.get("/deals/1", headers={f"X-{n}": "" for n in range(5000)})
            later = await client.get("/deals/1")

        assert (large.status_code, many.status_code, later.status_code) == (431, 431, 404)
        assert large.json()["error"]["request_id"] == large.headers["x-request-id"]

    async def test_largest_head_within_limits_is_served(self, server: LocalServer) -> None:
        target = b"/deals/1?q=".ljust(MAX_TARGET_BYTES, b"x")
        headers = [b"Host: x", b"Connection: close"]
        names = [b"X-%02d" % number for number in range(MAX_HEADERS - len(headers))]
        left = MAX_HEADERS_BYTES - sum(map(len, [*headers, *names])) + 2 * len(headers)
        headers += [name + b": " + b"x" * (left // len(names)) for name in names]
        head = b"\r\n".join([b"GET %s HTTP/1.1" % target, *headers, b"", b""])
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for part in (head[:-1], head[-1:]):
            writer.write(part)
            # The server checks the size between two parts.
            await asyncio.sleep(0.1)
        async with asyncio.timeout(TIMEOUT):
            received = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert received.startswith(b"HTTP/1.1 422 ")

    async def test_pipelined_heads_are_bounded_one_by_one(self, server: LocalServer) -> None:
        request = b"GET /deals/1 HTTP/1.1\r\nHost: x\r\nX-Some: " + b"x" * 1000 + b"\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request * 200)
        async with asyncio.timeout(TIMEOUT):
            for _ in range(200):
                assert b"HTTP/1.1 404 " in await reader.readuntil(b"}}")
        writer.close()
        await writer.wait_closed()


class TestTrailers:
    HEAD = (
        b"POST /deals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    @pytest.mark.parametrize(
        "start",
        [b"0\r\nX-Large: ", b"0\r\n" + b"a:\r\n" * 20_000, b"2;", b"2\r\n{}\r\n0\r\nX-Large: "],
        ids=["one trailer", "many trailers", "chunk extension", "trailer after content"],
    )
    async def test_endless_trailers_end_the_connection(
        self, server: LocalServer, start: bytes
    ) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(self.HEAD + start)

        async def send_without_end() -> None:
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()

        with pytest.raises(ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                await send_without_end()
        writer.transport.abort()

    async def test_small_chunks_with_extensions_and_trailers_are_served(
        self, server: LocalServer
    ) -> None:
        chunks = b"".join(b"1;name=%s\r\n \r\n" % (b"x" * 1000) for _ in range(200))
        received = await send_and_read(
            server, self.HEAD + chunks + b"2\r\n{}\r\n0\r\nX-Some: trailer\r\n\r\n"
        )

        assert received.startswith(b"HTTP/1.1 422 ")

    async def test_trailer_is_no_header(self, server: LocalServer) -> None:
        received = await send_and_read(
            server, self.HEAD + b"2\r\n{}\r\n0\r\nX-Request-ID: trailer\r\n\r\n"
        )

        assert received.startswith(b"HTTP/1.1 422 ")
        assert b"x-request-id: trailer" not in received


class TestRequestArrivalTimeout:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (b"\r\n", b""),
            (b"PUT /imports HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", b"HTTP/1.1 405 "),
            (b"GET /deals HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"HTTP/1.1 408 Request Timeout\r\n"),
            (b"GET /de", b"HTTP/1.1 408 Request Timeout\r\n"),
            (
                b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s"
                % b"Content-Length: 9\r\n\r\n{",
                b"HTTP/1.1 408 Request Timeout\r\n",
            ),
        ],
    )
    async def test_incomplete_request_is_disconnected(
        self, short_timeout_server: LocalServer, sent: bytes, answer: bytes
    ) -> None:
        received = await send_and_read(short_timeout_server, sent)

        assert received.startswith(answer)
        assert bool(received) == bool(answer)

    async def test_incomplete_later_request_is_disconnected_without_a_response(
        self, short_timeout_server: LocalServer
    ) -> None:
        sent = b"GET /deals/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /de"
        received = await send_and_read(short_timeout_server, sent)

        assert received.startswith(b"HTTP/1.1 404 ")
        assert received.count(b"HTTP/1.1") == 1

    async def test_stalled_upload_is_disconnected(self, short_timeout_server: LocalServer) -> None:
        head = b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        sent = head + b"Content-Length: 100\r\n\r\nid,"
        received = await send_and_read(short_timeout_server, sent)

        assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b'"code":"REQUEST_TIMEOUT"' in received

    @pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n\r\n"])
    async def test_idle_connection_is_closed(self, own_settings: Settings, sent: bytes) -> None:
        settings = own_settings.model_copy(update={"request_arrival_timeout": ARRIVAL_TIMEOUT})
        async with local_server(settings, wait_for_data=bool(sent), timeout_keep_alive=1) as server:
            received = await send_and_read(server, sent)

        assert received.startswith(b"HTTP/1.1 200 OK\r\n" if sent else b"")
        assert bool(received) == bool(sent)

    async def test_line_ends_keep_no_connection_open(self, own_settings: Settings) -> None:
        """uvicorn's timeout of an idle connection ends with the first byte of any kind."""
        async with local_server(own_settings, timeout_keep_alive=1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"}")
            writer.write(b"\r\n")
            async with asyncio.timeout(TIMEOUT):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    async def test_missing_body_holds_no_slot_or_connection(
        self, short_timeout_server: LocalServer
    ) -> None:
        """The request holds no slot of the concurrency limit and no connection to the database."""
        head = b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connections = []
        for _ in range(MAX_REQUESTS):
            reader, writer = await asyncio.open_connection("127.0.0.1", short_timeout_server.port)
            writer.write(head + b"Content-Length: 100\r\n\r\n{")
            connections.append((reader, writer))
        async with short_timeout_server.client() as client:

            async def has_capacity() -> bool:
                return (await client.get("/deals")).status_code == 200

            async def holds_no_connection() -> bool:
                # The scrape itself asks the database for the backlog.
                found = await scrape_metrics(client)
                return found.value("deals_db_pool_connections", pool="write", state="in_use") == 0

            await wait_for(has_capacity, "a request is admitted")
            await wait_for(holds_no_connection, "the pool of writes is unused")
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()

    @pytest.mark.slow
    async def test_slow_upload_is_accepted(self, own_settings: Settings) -> None:
        """An upload may take longer than the timeout if bytes keep arriving."""
        # The pauses are much shorter than the timeout, so a busy machine does not exceed it.
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
