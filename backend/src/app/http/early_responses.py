"""Responses that begin before the request's body has arrived, such as 401, 405, 413 and 503.

After a response uvicorn reads and drops the rest of the request's body, however large or slow that
body is. Closing the connection at once would reset it, and the client might lose the response.
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import RequestTimeoutError

CLOSE = (b"connection", b"close")

# Limits for reading and dropping a body before an early response, in bytes and in seconds.
_DRAINED_BYTES = 8 * 1024 * 1024
_DRAINED_SECONDS = 2.0


class EarlyResponseMiddleware:
    """ASGI middleware that drains the body of a request before an early response.

    If the whole body arrives within the limits, the connection stays open. If it does not, the
    response closes the connection. Requests without a body and HTTP/2 requests pass unchanged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request. Drain its body before an early response."""
        if scope["type"] == "http" and _has_body(scope):
            body = _Body(scope, receive, send)
            receive, send = body.receive, body.send
        await self._app(scope, receive, send)


class _Body:
    """The body of one request, which the application may leave unread."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._has_arrived = self._is_disconnected = False
        # With `Expect: 100-continue` a client sends its body only after a 100 response, which the
        # server sends on the first call of `receive`.
        self._awaits_continue = any(
            name == b"expect" and value.lower() == b"100-continue"
            for name, value in scope["headers"]
        )

    async def receive(self) -> Message:
        """Return the server's next message."""
        if self._is_disconnected:
            # The drain may have received the disconnect, which a server may report only once.
            return {"type": "http.disconnect"}
        self._awaits_continue = False
        message = await self._receive()
        self._is_disconnected = message["type"] == "http.disconnect"
        self._has_arrived = self._is_disconnected or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response. Drain the body before the first one."""
        if message["type"] == "http.response.start" and not self._has_arrived:
            # A 408 means that the body has already exceeded its time limit.
            in_time = message["status"] != RequestTimeoutError.status
            is_sent = in_time and not self._awaits_continue
            if not (is_sent and await self._drain()) and CLOSE not in message["headers"]:
                message = {**message, "headers": [*message["headers"], CLOSE]}
        await self._send(message)

    async def _drain(self) -> bool:
        """Read and drop the body within the limits. Return whether all of it has arrived."""
        left = _DRAINED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED_SECONDS):
                while left > 0 and not self._has_arrived:
                    left -= len((await self.receive()).get("body", b""))
        return self._has_arrived


def _has_body(scope: Scope) -> bool:
    """Return whether an HTTP/1 request has a body."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return bool(scope["http_version"] in {"1.0", "1.1"})
    return False
