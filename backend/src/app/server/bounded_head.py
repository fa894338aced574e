"""Limits on the size and the arrival time of a request's head, and on the size of its trailers.

An ASGI application sees a request only after its head is complete, and never sees trailers or chunk
extensions. Only the server's HTTP protocol class can limit these parts of a request.
"""

import asyncio
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.errors import AppError, RequestHeadersTooLargeError, RequestTimeoutError
from app.http.exception_handlers import envelope
from app.http.middleware import MAX_HEADERS, parse_request_headers, security_headers

# The limits of `http/middleware.py`, 32 KiB of target and 32 KiB of headers, plus 8 KiB for their
# separators.
_MAX_HEAD_BYTES = 72 * 1024
# Seconds that a connection stays open after a refusal. Closing it while the client still sends
# would reset it, and the client might lose the response.
_LINGER = 0.5


def bounded_head(arrival_timeout: float) -> Any:
    """Return the protocol factory for uvicorn's `http` option.

    The factory can be pickled, so that uvicorn can pass it to several server processes.
    """
    return partial(BoundedHeadProtocol, arrival_timeout=arrival_timeout)


class BoundedHeadProtocol(HttpToolsProtocol):
    """A uvicorn connection that refuses heads and trailers that are too large or too slow."""

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
        if self._arrival.takes_header():
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._arrival.begin_body()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._arrival.pass_body()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arrival.end()
        super().on_message_complete()


class _Arrival:
    """The state of the request that a connection is receiving.

    The state tells whether a head or a body is arriving, and counts the bytes for the size limit.
    A head must be complete within `timeout` seconds. The application enforces the deadline of a
    body.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = self._in_body = self._refused = False
        self._received = self._size = self._headers = self._requests = 0

    def start(self, transport: asyncio.Transport) -> None:
        """Start the deadline of the first request."""
        self._transport = transport
        self._wait(self._timeout)

    def takes(self, data: bytes) -> bool:
        """Return whether to pass the bytes to the parser.

        Bytes after a refusal are dropped. Whitespace between requests is dropped, because it would
        cancel uvicorn's keep-alive timeout.
        """
        self._received = len(data)
        return not self._refused and (self._in_head or self._in_body or not data.isspace())

    def check(self) -> None:
        """Enforce the size limits after the parser has read the bytes. Start a head's deadline."""
        self._size += self._received
        if self._in_head:
            if self._size > _MAX_HEAD_BYTES:
                self._refuse(RequestHeadersTooLargeError())
            elif self._timer is None:
                self._wait(self._timeout)
        elif self._in_body and self._size > _MAX_HEAD_BYTES:
            self._transport.close()

    def begin_head(self) -> None:
        """Record that a request has begun."""
        self._in_head = True
        self._size = self._headers = 0
        self._requests += 1

    def takes_header(self) -> bool:
        """Count a header and return whether to pass it on.

        One header beyond the limit is passed on, so that the application refuses the request.
        Trailers are not passed on, because the server would add them to the headers.
        """
        self._headers += 1
        return self._in_head and self._headers <= MAX_HEADERS + 1

    def begin_body(self) -> None:
        """Record that the head is complete, and cancel its deadline."""
        self.stop()
        self._in_head, self._in_body = False, True
        self.pass_body()

    def pass_body(self) -> None:
        """Reset the count of body bytes without content: trailers and chunk extensions."""
        self._received = self._size = 0

    def end(self) -> None:
        """Record the end of a request.

        The bytes just received do not count towards the size limit of the next request's head.
        """
        self._in_body = False
        self._received = 0

    def stop(self) -> None:
        """Cancel the deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if not (self._refused or self._transport.is_reading()):
            # The server has paused reading until earlier requests are done.
            self._wait(self._timeout)
        elif self._in_head and not self._refused:
            self._refuse(RequestTimeoutError())
        else:
            self._transport.close()

    def _refuse(self, error: AppError) -> None:
        self._refused = True
        if self._requests == 1:
            # After earlier requests, the client could take this for the response to one of them.
            self._transport.write(_response(error))
        self._wait(_LINGER)


def _response(error: AppError) -> bytes:
    """Return the bytes of an HTTP response with the error envelope."""
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
