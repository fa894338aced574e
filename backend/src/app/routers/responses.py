"""How routes answer: JSON straight from pydantic-core, and the errors they declare."""

from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from pydantic import TypeAdapter

from app.errors import (
    AppError,
    InvalidInputError,
    NotFoundError,
    ServiceUnavailableError,
)
from app.schemas.common import ErrorEnvelope

T = TypeVar("T")


class JSONDump(Generic[T]):
    """Serialises a response of type `T`.

    FastAPI would validate what the route returns before it serialises it. Services build exactly
    the declared type, which mypy checks, and a test validates real responses; so the hot path
    serialises only. Routes still declare `response_model`, for OpenAPI.
    """

    def __init__(self, response_type: type[T]) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(response_type)

    def __call__(self, value: T, headers: dict[str, str] | None = None) -> Response:
        """The 200 response with `value` as its body."""
        return Response(
            self._adapter.dump_json(value), media_type="application/json", headers=headers
        )


def errors(*kinds: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can answer with these, and with what every route can."""
    declared: set[type[AppError]] = {InvalidInputError, ServiceUnavailableError, AppError, *kinds}
    return {
        kind.status: {"model": ErrorEnvelope, "description": kind.default_message}
        for kind in sorted(declared, key=lambda kind: kind.status)
    }


LIST_ERRORS = errors()
ITEM_ERRORS = errors(NotFoundError)


def page_links(request: Request, *, skip: int, limit: int, total: int | None, got: int) -> str:
    """The `Link` header (RFC 8288) of an offset page: the first page, and the next if there is one.

    Relative references, so that they are right behind any proxy.
    """
    links = [_link(request, skip=0, rel="first")]
    more = got == limit if total is None else skip + got < total
    if got and more:
        links.append(_link(request, skip=skip + got, rel="next"))
    return ", ".join(links)


def _link(request: Request, *, skip: int, rel: str) -> str:
    url = request.url.include_query_params(skip=skip)
    return f'<{url.path}?{url.query}>; rel="{rel}"'
