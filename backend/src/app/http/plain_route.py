"""Routes that are none of FastAPI's, and known by their template like those that are."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def plain_route(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return a route for GET that tells the log and the metrics its template."""

    async def endpoint(request: Request) -> Response:
        request.scope["route"] = route
        return await handler(request)

    route = Route(path, endpoint, methods=["GET"])
    return route
