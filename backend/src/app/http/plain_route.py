"""Starlette routes that report their path template to logs and metrics, as FastAPI routes do."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def plain_route(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return a GET route that stores itself in each request's scope, for logs and metrics."""

    async def endpoint(request: Request) -> Response:
        request.scope["route"] = route
        return await handler(request)

    route = Route(path, endpoint, methods=["GET"])
    return route
