"""Responses that begin before the body of the request has arrived."""

import asyncio
import http.client
from collections.abc import AsyncIterator

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from tests.support.local_servers import LocalServer, local_server
from tests.support.timeouts import NO_LIMIT, TIMEOUT

from app.core.config import Settings
from app.http.early_responses import EarlyResponseMiddleware

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024
CLOSE = b"\r\nconnection: close\r\n"


@pytest.fixture
async def server(own_settings: Settings) -> AsyncIterator[LocalServer]:
    """Start a server without a practical limit on the arrival of a request."""
    changed = {"request_arrival_timeout": NO_LIMIT, "cors_origins": ["https://a.example"]}
    settings = own_settings.model_copy(update=changed)
    async with local_server(settings, timeout_keep_alive=int(TIMEOUT)) as server:
        yield server


def head(request_line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([request_line + b" HTTP/1.1", b"Host: x", *headers, b"", b""])


EARLY = [
    (head(b"GET /health", b"Content-Length: 5"), b"200"),
    (head(b"PUT /imports", b"Content-Length: 5"), b"405"),
    (head(b"PUT /imports", b"Transfer-Encoding: chunked"), b"405"),
    (
        head(
            b"OPTIONS /deals",
            b"Origin: https://a.example",
            b"Access-Control-Request-Method: GET",
            b"Content-Length: 5",
        ),
        b"200",
    ),
]


class TestConnections:
    @pytest.mark.parametrize(("sent", "status"), EARLY)
    async def test_body_that_arrives_soon_keeps_the_connection(
        self, server: LocalServer, sent: bytes, status: bytes
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(2):
            writer.write(sent)
            await asyncio.sleep(0.1)
            writer.write(b"5\r\nlater\r\n0\r\n\r\n" if b"chunked" in sent else b"later")
            async with asyncio.timeout(TIMEOUT):
                answer = await reader.readuntil(b"\r\n\r\n")
                length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert CLOSE not in answer
        writer.close()
        await writer.wait_closed()

    @pytest.mark.parametrize("trickles", [False, True])
    @pytest.mark.parametrize(("sent", "status"), EARLY)
    async def test_body_that_does_not_arrive_ends_the_connection(
        self, server: LocalServer, sent: bytes, status: bytes, trickles: bool
    ) -> None:
        sent = sent.replace(b"Content-Length: 5", b"Content-Length: 10000")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        async with asyncio.timeout(TIMEOUT):
            reading = asyncio.ensure_future(reader.read())
            while trickles and not reading.done():
                writer.write(b"1\r\nx\r\n")
                await asyncio.sleep(0.05)
            answer = await reading
        writer.close()

        assert answer.startswith(b"HTTP/1.1 " + status)
        assert CLOSE in answer

    async def test_expect_100_continue_is_answered_without_a_body(
        self, server: LocalServer
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        length = b"Content-Length: %d" % (3 * MEGABYTE)
        writer.write(
            head(
                b"POST /deals",
                b"Content-Type: application/json",
                b"Expect: 100-Continue",
                length,
            )
        )
        async with asyncio.timeout(TIMEOUT):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert CLOSE in answer


class TestLargeBodies:
    @pytest.mark.parametrize(
        ("path", "headers", "status"),
        [
            ("/deals", {"Content-Type": "application/json"}, 413),
            ("/imports", {"Content-Type": "text/csv", "Authorization": "Bearer no"}, 401),
        ],
    )
    async def test_client_that_sends_its_body_first_reads_the_response(
        self, server: LocalServer, path: str, headers: dict[str, str], status: int
    ) -> None:
        def post() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
            try:
                connection.request("POST", path, bytes(3 * MEGABYTE), headers)
                return connection.getresponse().status
            finally:
                connection.close()

        assert [await asyncio.to_thread(post) for _ in range(10)] == [status] * 10


class TestMiddleware:
    """The middleware under a server made for these tests."""

    @staticmethod
    async def respond(
        received: list[Message], *, version: str = "1.1", headers: list[tuple[bytes, bytes]]
    ) -> tuple[bool, int]:
        """Return whether the response closes the connection, and the number of messages left."""
        sent: list[Message] = []
        left = iter(received)

        async def receive() -> Message:
            return next(left)

        async def send(message: Message) -> None:
            sent.append(message)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await Response("early")(scope, receive, send)

        scope = {"type": "http", "http_version": version, "headers": headers}
        await EarlyResponseMiddleware(app)(scope, receive, send)
        return (b"connection", b"close") in sent[0]["headers"], len(list(left))

    async def test_body_is_drained_up_to_a_limit(self) -> None:
        piece = {"type": "http.request", "body": bytes(MEGABYTE), "more_body": True}

        closes, left = await self.respond([piece] * 100, headers=[(b"content-length", b"1")])

        assert closes
        assert left == 92

    @pytest.mark.parametrize(
        ("version", "headers"),
        [
            ("1.1", []),
            ("1.1", [(b"content-length", b"0")]),
            ("2", [(b"content-length", b"5")]),
        ],
    )
    async def test_other_requests_are_not_read(
        self, version: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        piece = {"type": "http.request", "body": b"later"}

        assert await self.respond([piece], version=version, headers=headers) == (False, 1)

    async def test_application_still_sees_the_disconnect(self) -> None:
        received: list[Message] = [{"type": "http.disconnect"}]
        seen: list[Message] = []

        async def receive() -> Message:
            return received.pop()

        async def send(_message: Message) -> None:
            pass

        async def app(_scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            seen.append(await receive())

        scope = {"type": "http", "http_version": "1.1", "headers": [(b"content-length", b"5")]}
        await EarlyResponseMiddleware(app)(scope, receive, send)

        assert seen == [{"type": "http.disconnect"}]
