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


class Written:
    """A transport that keeps what each write was of."""

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


async def answered(
    respond: Callable[[Receive, Send], Awaitable[None]],
    request: bytes = b"GET / HTTP/1.1\r\n\r\n",
    *,
    made: Callable[[Written], None] = lambda _: None,
) -> Written:
    """What is written for a request until `respond` has ended."""

    async def app(_scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await respond(receive, send)

    config = uvicorn.Config(app, http=OneWrite, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    protocol = OneWrite(config=config, server_state=state, app_state={})
    transport = Written()
    made(transport)
    protocol.connection_made(Mock(wraps=transport))
    protocol.data_received(request)
    await asyncio.gather(*state.tasks)
    # What stood between refers to the response, which would refer to it for ever.
    assert protocol.cycle.transport is protocol.transport
    return transport


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def body(content: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.mark.parametrize("content", [b"ok", b""])
async def test_a_response_is_one_write(content: bytes) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"%d" % len(content))))
        await send(body(content))

    (write,) = (await answered(respond)).writes

    assert write.startswith(b"HTTP/1.1 200 OK\r\n")
    assert write.endswith(b"\r\n\r\n" + content)


@pytest.mark.parametrize("status", [204, 304])
async def test_so_is_one_without_a_body(status: int) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(start(status=status))
        await send(body())

    (write,) = (await answered(respond)).writes

    assert write.endswith(b"\r\n\r\n")


async def test_the_rest_of_a_body_comes_as_it_comes() -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(start(LENGTH))
        await send(body(b"o", more=True))
        await send(body(b"k"))

    first, second = (await answered(respond)).writes

    assert (first[-5:], second) == (b"\r\n\r\no", b"k")


async def test_a_stream_says_at_once_that_it_has_begun() -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"ok"))

    head, first = (await answered(respond)).writes

    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert first == b"2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
async def test_head_is_answered_by_the_head(connection: bytes) -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(start(LENGTH))
        await send(body())

    request = b"HEAD / HTTP/1.1\r\nConnection: %s\r\n\r\n" % connection
    written = await answered(respond, request)

    assert written.writes[0].endswith(b"\r\n\r\n")
    assert written.closed == (connection == b"close")


async def test_a_client_that_asks_whether_to_go_on_is_told() -> None:
    async def respond(receive: Receive, send: Send) -> None:
        await receive()
        await send(start(LENGTH))
        await send(body(b"ok"))

    request = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"
    go_on, response = (await answered(respond, request)).writes

    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_the_head_of_a_response_that_fails_is_sent() -> None:
    async def respond(_receive: Receive, send: Send) -> None:
        await send(start(LENGTH))
        raise RuntimeError

    written = await answered(respond)

    assert [write[:15] for write in written.writes] == [b"HTTP/1.1 200 OK"]
    assert written.closed


async def test_nothing_is_written_to_who_has_gone() -> None:
    gone: list[Written] = []

    async def respond(_receive: Receive, send: Send) -> None:
        await send(start(LENGTH))
        gone[0].closed = True
        raise RuntimeError

    written = await answered(respond, made=gone.append)

    assert written.writes == []
