"""Bounds of a request's head, which only a protocol sees while it arrives."""

import asyncio
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.errors import AppError, RequestHeadersTooLargeError, RequestTimeoutError
from app.http.exception_handlers import envelope
from app.http.middleware import MAX_HEADERS, parse_request_headers, security_headers

# What no head within the limits of `http/middleware.py` has.
_MAX_HEAD_BYTES = 64 * 1024
# Seconds between a refusal and the end of its connection: to close while the client still sends
# would reset the connection, and the client might lose the answer.
_LINGER = 0.5


def bounded_head(arrival_timeout: float) -> Any:
    """Return what uvicorn is given as `http`; worker processes can be given it, too."""
    return partial(BoundedHeadProtocol, arrival_timeout=arrival_timeout)


class BoundedHeadProtocol(HttpToolsProtocol):
    """A connection of uvicorn's that refuses a head which is too large or too slow."""

    def __init__(self, *arguments: Any, arrival_timeout: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._arrival = _Arrival(arrival_timeout)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._arrival.start(transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._arrival.takes(data):
            super().data_received(data)
            self._arrival.check()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrival.stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._arrival.begin_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # One more than may be: the application refuses those.
        if self._arrival.count_header() <= MAX_HEADERS + 1:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._arrival.begin_body()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrival.end()
        super().on_message_complete()


class _Arrival:
    """The request that arrives on a connection: its part, its size, and its deadline.

    The deadline of a head is that of its last byte. Once the head is there, the application keeps
    the deadline of the body and answers; twice the time without a byte then ends a connection of
    which the application wants nothing more.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = self._in_body = self._refused = False
        self._received = self._head_size = self._headers = 0

    def start(self, transport: asyncio.Transport) -> None:
        """Wait for the first request."""
        self._transport = transport
        self._wait(self._timeout)

    def takes(self, data: bytes) -> bool:
        """Return whether the bytes are for the parser.

        Those after a refusal are not, nor line ends between requests, which would end uvicorn's
        timeout of idle connections.
        """
        self._received = len(data)
        return not self._refused and (self._in_head or self._in_body or not data.isspace())

    def check(self) -> None:
        """Bound what is left unfinished by the bytes that were received."""
        if self._in_head:
            self._head_size += self._received
            if self._head_size > _MAX_HEAD_BYTES:
                self._refuse(RequestHeadersTooLargeError())
            elif self._timer is None:
                self._wait(self._timeout)
        elif self._in_body:
            self._wait(2 * self._timeout)
        else:
            self.stop()

    def begin_head(self) -> None:
        """Begin a request."""
        self._in_head = True
        self._head_size = self._headers = 0

    def count_header(self) -> int:
        """Return the number of the head's headers."""
        self._headers += 1
        return self._headers

    def begin_body(self) -> None:
        """End a head in time."""
        self.stop()
        self._in_head, self._in_body = False, True

    def end(self) -> None:
        """End a request; the bytes up to here are no part of the next head."""
        self._in_body = False
        self._received = 0

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if not (self._refused or self._transport.is_reading()):
            # The server does not read on, because of the requests before.
            self._wait(self._timeout)
        elif self._in_head and not self._refused:
            self._refuse(RequestTimeoutError())
        else:
            self._transport.close()

    def _refuse(self, error: AppError) -> None:
        self._refused = True
        self._transport.write(_response(error))
        self._wait(_LINGER)


def _response(error: AppError) -> bytes:
    """Return a whole response, in the envelope of all errors."""
    request_id, _, _ = parse_request_headers(())
    answer = envelope(request_id, error)
    headers = (
        (b"date", formatdate(usegmt=True).encode()),
        *answer.raw_headers,
        *security_headers(),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    )
    lines = [b"%s: %s" % header for header in headers]
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    return b"\r\n".join((status, *lines, b"", answer.body))
