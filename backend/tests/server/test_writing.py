"""Head and body of a response go out together, and nothing that is held back is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.server.writing import OneWrite

pytestmark = pytest.mark.unit

LENGTH = (b"content-length", b"2")
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class RecordingTransport:
    """A transport that records each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str) -> None:
        return None


async def write_response(
    respond: Callable[[Receive, Send], Awaitable[None]],
    request: bytes = b"GET / HTTP/1.1\r\n\r\n",
    *,
    on_transport: Callable[[RecordingTransport], None] = lambda _: None,
) -> RecordingTransport:
    """Return the transport with what is written for a request until `respond` has ended."""

    async def app(_scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await respond(receive, send)

    config = uvicorn.Config(app, http=OneWrite, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    protocol = OneWrite(config=config, server_state=state, app_state={})
    transport = RecordingTransport()
    on_transport(transport)
    protocol.connection_made(Mock(wraps=transport))
    protocol.data_received(request)
    await asyncio.gather(*state.tasks)
    # What stood between refers to the response, which would refer to it for ever.
    assert protocol.cycle.transport is protocol.transport
    return transport


def response_start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def response_body(content: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.mark.parametrize("content", [b"ok", b""])
async def test_response_with_content_length_is_one_write(content: bytes) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start((b"content-length", b"%d" % len(content))))
        await send(response_body(content))

    (write,) = (await write_response(respond)).writes

    assert write.startswith(b"HTTP/1.1 200 OK\r\n")
    assert write.endswith(b"\r\n\r\n" + content)


@pytest.mark.parametrize("status", [204, 304])
async def test_response_without_body_is_one_write(status: int) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start(status=status))
        await send(response_body())

    (write,) = (await write_response(respond)).writes

    assert write.endswith(b"\r\n\r\n")


async def test_response_later_chunks_are_separate_writes() -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start(LENGTH))
        await send(response_body(b"o", more=True))
        await send(response_body(b"k"))

    first, second = (await write_response(respond)).writes

    assert (first[-5:], second) == (b"\r\n\r\no", b"k")


async def test_response_chunked_sends_head_at_once() -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start())
        await send(response_body(b"ok"))

    head, first = (await write_response(respond)).writes

    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert first == b"2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
async def test_response_to_head_request_is_head_only(connection: bytes) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start(LENGTH))
        await send(response_body())

    request = b"HEAD / HTTP/1.1\r\nConnection: %s\r\n\r\n" % connection
    written = await write_response(respond, request)

    assert written.writes[0].endswith(b"\r\n\r\n")
    assert written.closed == (connection == b"close")


async def test_response_to_expect_continue_is_preceded_by_100() -> None:
    async def respond(receive: Receive, send: Send) -> None:
        await receive()
        await send(response_start(LENGTH))
        await send(response_body(b"ok"))

    request = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"
    go_on, response = (await write_response(respond, request)).writes

    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_response_failing_after_head_sends_head() -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start(LENGTH))
        raise RuntimeError

    written = await write_response(respond)

    assert [write[:15] for write in written.writes] == [b"HTTP/1.1 200 OK"]
    assert written.closed


async def test_response_to_closed_connection_writes_nothing() -> None:
    transports: list[RecordingTransport] = []

    async def respond(_receive: Receive, send: Send) -> None:
        await send(response_start(LENGTH))
        transports[0].closed = True
        raise RuntimeError

    written = await write_response(respond, on_transport=transports.append)

    assert written.writes == []
