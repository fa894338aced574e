"""CORS: access to the API for web pages from the origins in `CORS_ORIGINS`."""

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

# Request headers that web pages may send, and response headers that they may read.
_SENT = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    *("X-API-Key", "X-Request-ID"),
)
_READ = (
    *("Content-Disposition", "ETag", "Idempotency-Replayed", "Link", "Location"),
    *("Retry-After", "X-Request-ID"),
)
_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")


def allow_origins(app: Starlette, origins: tuple[str, ...]) -> None:
    """Allow web pages of these origins to call the API.

    `allow_credentials` stays off, because the service uses no cookies. API keys are in headers.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_READ,
    )
