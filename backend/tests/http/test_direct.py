"""What `DirectRoute` finds in a request is what FastAPI finds in it, and so is what it refuses."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.config import Settings
from app.http.direct import DirectRoute
from app.main import create_app
from app.schemas.common import Id, OptionalParam
from app.schemas.deals import DealQuery

pytestmark = pytest.mark.unit


async def get_client_name(request: Request) -> str:
    return request.headers.get("x-who", "nobody")


def make_app(route_class: type[APIRoute]) -> FastAPI:
    router = APIRouter(route_class=route_class)

    @router.get("/all", dependencies=[Depends(get_client_name)])
    async def read_query(
        query: Annotated[DealQuery, Query()], who: Annotated[str, Depends(get_client_name)]
    ) -> Response:
        return Response(f"{query!r} {query.model_fields_set} {who}")

    @router.get("/one/{one_id}")
    async def read_path_and_headers(
        request: Request,
        one_id: Annotated[Id, Path()],
        must: Annotated[str, Header()],
        may: Annotated[OptionalParam[str], Header(pattern="^[a-z]*$")] = None,
    ) -> Response:
        return Response(f"{request.url.path} {one_id!r} {must!r} {may!r}")

    return FastAPI(routes=router.routes)


@pytest.mark.parametrize(
    "path",
    [
        "/all",
        "/all?",
        "/all?limit=5&skip=3&city=Berlin&city=Paris&q=%20gr%C3%A4nd&q=b",
        "/all?category=a&category=b&category=a",
        "/all?category=a",
        "/all?category=",
        "/all?city=",
        "/all?limit=0&skip=x",
        "/all?limit=0&limit=5",
        "/all?unknown=1&unknown=2&limit=5",
        "/all?cursor=a&skip=0",
        "/all?sort=id,id",
        "/all?available_only=yes&price_min=1&price_max=0.5",
        "/all?city=%00",
        "/all?city=%ff",
        "/all?a;b=c&&=&x",
        "/one/7",
        "/one/07",
        "/one/0",
        "/one/x",
        "/one/9223372036854775808",
    ],
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Must": "a", "X-Who": "me"}, {"must": "", "may": "x"}, {"must": "a", "may": "X"}],
)
async def test_direct_route_any_request_answers_as_fastapi(
    path: str, headers: dict[str, str]
) -> None:
    answers = []
    for route_class in (DirectRoute, APIRoute):
        transport = httpx.ASGITransport(app=make_app(route_class))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.get(path, headers=headers)
            answers.append((answer.status_code, answer.content))

    assert answers[0] == answers[1]


async def test_direct_route_other_method_returns_405() -> None:
    transport = httpx.ASGITransport(app=make_app(DirectRoute))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/all")).status_code == 405


async def yield_dependency() -> AsyncIterator[int]:
    yield 1


def sync_dependency(request: Request) -> str:
    return request.method


async def nested_dependency(who: Annotated[str, Depends(get_client_name)]) -> str:
    return who


async def constant_dependency() -> int:
    return 1


async def request_endpoint(request: Request) -> Response:
    return Response()


async def separate_params_endpoint(limit: int, request: Request) -> Response:
    return Response()


async def body_endpoint(body: dict[str, Any]) -> Response:
    return Response()


async def unserialized_endpoint() -> int:
    return 1


async def list_header_endpoint(each: Annotated[list[str], Header()]) -> Response:
    return Response()


async def yield_dependency_endpoint(value: Annotated[int, Depends(yield_dependency)]) -> Response:
    return Response()


async def sync_dependency_endpoint(value: Annotated[str, Depends(sync_dependency)]) -> Response:
    return Response()


async def nested_dependency_endpoint(value: Annotated[str, Depends(nested_dependency)]) -> Response:
    return Response()


async def constant_dependency_endpoint(
    value: Annotated[int, Depends(constant_dependency)],
) -> Response:
    return Response()


@pytest.mark.parametrize(
    ("endpoint", "method", "direct"),
    [
        (request_endpoint, "GET", True),
        (request_endpoint, "POST", False),
        (separate_params_endpoint, "GET", False),
        (body_endpoint, "GET", False),
        (unserialized_endpoint, "GET", False),
        (list_header_endpoint, "GET", False),
        (yield_dependency_endpoint, "GET", False),
        (sync_dependency_endpoint, "GET", False),
        (nested_dependency_endpoint, "GET", False),
        (constant_dependency_endpoint, "GET", False),
    ],
)
def test_direct_route_unsupported_endpoint_falls_back_to_fastapi(
    endpoint: Callable[..., Any], method: str, direct: bool
) -> None:
    assert DirectRoute("/x", endpoint, methods=[method]).is_direct is direct


READ_OPERATIONS = {
    "get_health",
    "list_deals",
    "get_deal",
    "city_statistics",
    "list_hotels",
    "get_hotel",
    "list_categories",
}


def test_direct_route_serves_every_read_operation(settings: Settings) -> None:
    """A read that FastAPI solves is slower: this test says so."""
    app = create_app(settings)
    routes = [each.original_route for each in iter_route_contexts(app.routes)]

    direct = {
        each.operation_id for each in routes if isinstance(each, DirectRoute) and each.is_direct
    }
    assert direct >= READ_OPERATIONS
