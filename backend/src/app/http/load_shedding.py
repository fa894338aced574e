"""Load shedding: middleware that refuses requests beyond the limit of in-flight requests."""

import asyncio

from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import OverloadedError
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.early_responses import CLOSE
from app.http.middleware import Headers, parse_request_headers
from app.http.pace import Pace
from app.schemas.validation_errors import error_envelope

# Refusals per second and process that are not delayed. One refusal takes 0.1 ms of CPU, including
# the server's work, so these refusals take a twentieth of a core.
_REFUSALS_PER_SECOND = 500
# Number of refusals that are not delayed after a pause without refusals.
_BURST = 100
# Maximum delay in seconds, the time that `Retry-After` asks clients to wait.
_LONGEST_DELAY = 1.0
# A placeholder for the request id in the prepared body.
_ID = "ID"


class LoadSheddingMiddleware:
    """ASGI middleware that returns 503 when the limiter has no free slot.

    A refusal must cost much less CPU than the cheapest request. Its response, which includes
    `headers`, is therefore prepared in advance, except for the request id. Refusals beyond
    `_REFUSALS_PER_SECOND` are delayed by up to a second. Without this delay, clients that ignore
    `Retry-After` would use up the CPU with their retries.

    During a graceful shutdown responses close their connections, so that clients connect to another
    process.
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
        """Pass on one request or refuse it."""
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
    """One request's slot, which is released when the response begins.

    The request's work is done by then. A client that reads the response slowly holds no slot.
    """

    __slots__ = ("_held", "_limiter", "_to_client")

    def __init__(self, limiter: ConcurrencyLimiter, send: Send) -> None:
        self._limiter = limiter
        self._to_client = send
        self._held = True

    async def send(self, message: Message) -> None:
        """Release the slot and send a message of the response."""
        self.release()
        await self._to_client(message)

    def release(self) -> None:
        """Release the slot once. Later calls do nothing."""
        if self._held:
            self._held = False
            self._limiter.release()


def _closing(send: Send) -> Send:
    """Wrap `send` so that it adds `Connection: close` to the response."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], CLOSE]}
        await send(message)

    return send_closing
