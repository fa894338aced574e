"""Middleware for every request: request id, body limits, log line, metrics and 500 responses.

The middleware is plain ASGI. Starlette's `BaseHTTPMiddleware` would run the route in another task,
and context variables set there would be lost.
"""

import asyncio
import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import (
    AppError,
    PayloadTooLargeError,
    RequestHeadersTooLargeError,
    RequestTimeoutError,
    URITooLongError,
)
from app.http.exception_handlers import envelope, internal_error
from app.observability.logging import log_request
from app.observability.metrics import observe_request
from app.observability.sql_statistics import StatementStatistics, statement_statistics

# Limits on a request's head: bytes of the target, bytes of all headers, and number of headers.
MAX_TARGET_BYTES = MAX_HEADERS_BYTES = 32 * 1024
MAX_HEADERS = 100

Headers = tuple[tuple[bytes, bytes], ...]

# Allow request ids such as UUIDs and trace ids, but no characters that could forge a log line.
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)

_LENGTH = re.compile(rb"\d{1,18}")

error_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("app.error")


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Maximum size of a body in bytes, and maximum seconds for the body or for each piece."""

    most: int
    timeout: float
    for_each_piece: bool = False


class RequestMiddleware:
    """Middleware that assigns a request id, counts SQL, logs one line and handles all exceptions.

    An unhandled exception becomes a 500 in the error envelope. Starlette's own handler would
    return plain text without a request id.

    FastAPI's routes do not support `HEAD`, so a `HEAD` is served as a `GET` without a body.

    The middleware limits the declared and the received length of a body, because FastAPI's own
    limit is outside all middleware and returns plain text. `larger_bodies` maps paths to other
    limits.

    The `Server-Timing` header shows query times in a browser's developer tools. It is for
    development only, because query times can reveal the contents of the database.
    """

    def __init__(
        self,
        app: ASGIApp,
        body: BodyLimit,
        *,
        larger_bodies: Mapping[str, BodyLimit] = MappingProxyType({}),
        server_timing: bool,
        hsts_seconds: int = 0,
    ) -> None:
        self._app = app
        self._added = _Added(security_headers(hsts_seconds), server_timing)
        self._body = body
        self._larger_bodies = larger_bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request. Pass on other ASGI scopes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger_bodies.get(scope["path"], self._body)
        exchange = _RequestContext(scope, receive, send, limit, self._added)
        token = statement_statistics.set(exchange.statistics)
        try:
            if exchange.refusal is not None:
                refusal = envelope(exchange.request_id, exchange.refusal)
                await refusal(scope, receive, exchange.send)
            else:
                await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            error_log.exception("unhandled error", request_id=exchange.request_id)
            if exchange.status is not None:
                raise
            await internal_error(exchange.request_id)(scope, receive, exchange.send)
        finally:
            statement_statistics.reset(token)
            exchange.log()


@dataclass(frozen=True, slots=True)
class _Added:
    """Headers to add to every response."""

    always: Headers
    server_timing: bool


class _RequestContext:
    """The state of one request and of its response."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limit: BodyLimit, added: _Added
    ) -> None:
        self._receive = receive
        self._added = added
        self._limit = limit
        self._body_bytes_left = limit.most
        self._has_arrived = False
        self._send = send
        self._started = time.perf_counter()
        self._method = scope["method"]
        self._without_body = self._method == "HEAD"
        self._ended = False
        if self._without_body:
            # Copy the scope: the server keeps the original, and expects a body in a GET's response.
            scope = {**scope, "method": "GET"}
        self.scope = scope
        self.request_id, declared_length, size = parse_request_headers(scope["headers"])
        self.refusal = _refusal(scope, size)
        if self.refusal is None and declared_length > limit.most:
            self.refusal = PayloadTooLargeError()
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        # Streamed responses read this to skip the body of a HEAD.
        state["wants_body"] = not self._without_body
        self.statistics = StatementStatistics()
        self.status: int | None = None

    async def receive(self) -> Message:
        """Return the server's next message and enforce the limits on the body.

        Raises:
            HTTPException: the body is too large or too slow. FastAPI would turn any other exception
                type into a 400.
        """
        if self._has_arrived:
            return await self._receive()
        left = self._limit.timeout - (0 if self._limit.for_each_piece else self._seconds())
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            if self.status is not None:
                # The response has begun, so it is too late for an error response.
                return {"type": "http.disconnect"}
            # Close the connection instead of waiting for the rest of the body.
            headers = {"Connection": "close"}
            raise HTTPException(RequestTimeoutError.status, headers=headers) from None
        if message["type"] == "http.request":
            self._has_arrived = not message.get("more_body", False)
            self._body_bytes_left -= len(message.get("body", b""))
            if self._body_bytes_left < 0:
                raise HTTPException(PayloadTooLargeError.status)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            # Copy the headers, because a response object may be sent more than once.
            headers = [*message["headers"], *self._added.always]
            headers.append((b"x-request-id", self.request_id.encode()))
            if self._added.server_timing:
                headers.append((b"server-timing", self._timing().encode()))
            message = {**message, "headers": headers}
        elif self._without_body:
            if self._ended:
                return
            # End the response to a HEAD now. An endless stream is told of a disconnect only after
            # the response has ended.
            message = {"type": "http.response.body"}
            self._ended = True
        await self._send(message)

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _timing(self) -> str:
        """Return the value of `Server-Timing`, in milliseconds. It includes a write's commit."""
        return (
            f"db;dur={self.statistics.milliseconds};"
            f'desc="SQL statements: {self.statistics.statements}", '
            f"total;dur={self._seconds() * 1000:.2f}"
        )

    def log(self) -> None:
        # Log the path template, so that all requests of a route can be grouped.
        route = getattr(self.scope.get("route"), "path_format", None)
        seconds = self._seconds()
        statistics = self.statistics
        sql = (statistics.statements, statistics.seconds)
        observe_request(self._method, route, self.status, seconds, sql)
        log_request(
            method=self._method,
            route=route,
            status=self.status,
            duration_ms=round(seconds * 1000, 2),
            sql_statements=statistics.statements,
            sql_ms=statistics.milliseconds,
            request_id=self.request_id,
        )


def security_headers(hsts_seconds: int = 0) -> Headers:
    """Return the security headers of every response.

    The headers forbid browsers to guess content types and to send referrers to other origins. If
    `hsts_seconds` is not 0, the headers require HTTPS for that time.
    """
    headers = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))
    hsts = ((b"strict-transport-security", b"max-age=%d" % hsts_seconds),)
    return headers + hsts if hsts_seconds else headers


def _refusal(scope: Scope, headers_size: int) -> AppError | None:
    """Return an error if the request's head is too large."""
    if len(scope["headers"]) > MAX_HEADERS or headers_size > MAX_HEADERS_BYTES:
        return RequestHeadersTooLargeError()
    target = scope.get("raw_path") or scope["path"]
    if len(target) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return URITooLongError()
    return None


def parse_request_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, int, int]:
    """Return the request id, the declared length of the body, and the size of all headers.

    One loop finds all three, to save CPU time in every request.
    """
    given, length, size = None, 0, 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"x-request-id" and given is None:
            given = value.decode("latin-1")
        elif name == b"content-length" and _LENGTH.fullmatch(value):
            length = int(value)
    return _sane_request_id(given), length, size


def _sane_request_id(given: str | None) -> str:
    """Return the client's request id if it is valid, otherwise a new one."""
    if given and _SANE_REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"
