"""Requests of pages from other origins, by Starlette's rules (`CORS_ORIGINS`).

In two halves, so that what the service answers for itself, a 413 or a 500, can be read by such a
page, too, and so that a preflight is a request like any other: with an id, a line in the log, and
the envelope when it is refused.
"""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.exception_handlers import FrameworkError, envelope

_PREFLIGHT = "app.preflight"

# What pages may send, and what they may read of an answer besides its body.
_SENT = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    *("X-API-Key", "X-Request-ID"),
)
_READ = (
    *("Content-Disposition", "ETag", "Idempotency-Replayed", "Link", "Location"),
    *("Retry-After", "X-Request-ID"),
)
_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")


class CrossOrigin(CORSMiddleware):
    """The outer half: what every answer says of origins. Keys come in headers, not in cookies."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=_READ,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a preflight's answer waits for the inner half."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                scope[_PREFLIGHT] = self.preflight_response(headers)
                await self.app(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class Preflights:
    """The inner half, inside of what gives a request its id and its line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, with no route knowing of it; pass anything else on."""
        answer: Response | None = scope.get(_PREFLIGHT)
        if answer is not None and answer.status_code >= 400:  # noqa: PLR2004 - refused
            headers = {
                name: value
                for name, value in answer.headers.items()
                if name.startswith("access-control-") or name == "vary"
            }
            request_id: str = scope["state"]["request_id"]
            answer = envelope(request_id, FrameworkError(answer.status_code), headers)
        await (answer or self._app)(scope, receive, send)
