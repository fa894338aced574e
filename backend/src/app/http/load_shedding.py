"""Load shedding: the layer around all others that refuses what is too much."""

import asyncio

from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import OverloadedError
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.middleware import Headers, parse_request_headers
from app.http.pace import Pace
from app.schemas.validation_errors import error_envelope

_CLOSE = (b"connection", b"close")
# Refusals a second and process. One costs 0.1 ms with the server's part, so that all of them take a
# twentieth of a core from the requests that are served.
_REFUSALS_PER_SECOND = 500
# So many are answered at once after a quiet time.
_BURST = 100
# Seconds. A client that asks again at once then waits as long as it was told to.
_LONGEST_DELAY = 1.0
# Stands for the request's id in the prepared body.
_ID = "ID"


class LoadSheddingMiddleware:
    """Answers 503 when the limiter has no slot, under any ASGI server.

    A refusal must cost a fraction of the cheapest request, so all of it but the request's id is
    prepared. Refusals beyond `_REFUSALS_PER_SECOND` are delayed, up to a second: clients that
    ignore `Retry-After` would otherwise take the processor by asking again and again. `headers` are
    those of every response. While the server drains, responses close their connections: a client
    that keeps connections goes elsewhere for its next request.
    """

    def __init__(self, app: ASGIApp, limiter: ConcurrencyLimiter, headers: Headers) -> None:
        self._app = app
        self._limiter = limiter
        retry_after = b"%d" % OverloadedError.retry_after
        content_type = (b"content-type", b"application/json")
        self._headers = (*headers, content_type, (b"retry-after", retry_after))
        body = to_json(error_envelope(OverloadedError(), _ID))
        self._pace = Pace(_REFUSALS_PER_SECOND, _BURST, _LONGEST_DELAY)
        self._before_id, _, self._after_id = body.rpartition(_ID.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._limiter.draining and scope["http_version"] in {"1.0", "1.1"}:
            send = _closing(send)
        if not self._limiter.counts(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
        elif self._limiter.try_acquire():
            slot = _Slot(self._limiter, send)
            try:
                await self._app(scope, receive, slot.send)
            finally:
                slot.release()
        else:
            if delay := self._pace.next_delay():
                await asyncio.sleep(delay)
            await self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        request_id = parse_request_headers(scope["headers"])[0].encode()
        body = b"%s%s%s" % (self._before_id, request_id, self._after_id)
        own = ((b"content-length", b"%d" % len(body)), (b"x-request-id", request_id))
        start = {"type": "http.response.start", "status": OverloadedError.status}
        await send({**start, "headers": [*self._headers, *own]})
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})


class _Slot:
    """One request's slot, which it has until its response begins.

    The work is done by then. A client that reads slowly, or nothing, takes no slot from others.
    """

    __slots__ = ("_held", "_limiter", "_to_client")

    def __init__(self, limiter: ConcurrencyLimiter, send: Send) -> None:
        self._limiter = limiter
        self._to_client = send
        self._held = True

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        self.release()
        await self._to_client(message)

    def release(self) -> None:
        """Give the slot back, unless that is done."""
        if self._held:
            self._held = False
            self._limiter.release()


def _closing(send: Send) -> Send:
    """Return `send` for a response that ends its connection."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return send_closing
