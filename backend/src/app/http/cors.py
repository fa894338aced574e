"""CORS: requests from pages of other origins (`CORS_ORIGINS`)."""

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

# Headers that pages may send in a request, and headers that pages may read in a response.
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
    """Allow pages of these origins to call the API.

    Credentials mode stays off, because clients send API keys in headers, not in cookies.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_READ,
    )
