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


async def of_the_request(request: Request) -> str:
    return request.headers.get("x-who", "nobody")


def application(route_class: type[APIRoute]) -> FastAPI:
    router = APIRouter(route_class=route_class)

    @router.get("/all", dependencies=[Depends(of_the_request)])
    async def of_all(
        query: Annotated[DealQuery, Query()], who: Annotated[str, Depends(of_the_request)]
    ) -> Response:
        return Response(f"{query!r} {query.model_fields_set} {who}")

    @router.get("/one/{one_id}")
    async def of_one(
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
async def test_it_answers_as_fastapi_does(path: str, headers: dict[str, str]) -> None:
    answers = []
    for route_class in (DirectRoute, APIRoute):
        transport = httpx.ASGITransport(app=application(route_class))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.get(path, headers=headers)
            answers.append((answer.status_code, answer.content))

    assert answers[0] == answers[1]


async def test_another_method_is_refused_as_ever() -> None:
    transport = httpx.ASGITransport(app=application(DirectRoute))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/all")).status_code == 405


async def closed() -> AsyncIterator[int]:
    yield 1


def in_a_thread(request: Request) -> str:
    return request.method


async def of_another(who: Annotated[str, Depends(of_the_request)]) -> str:
    return who


async def of_nothing() -> int:
    return 1


async def plain(request: Request) -> Response:
    return Response()


async def one_by_one(limit: int, request: Request) -> Response:
    return Response()


async def with_body(body: dict[str, Any]) -> Response:
    return Response()


async def to_be_made() -> int:
    return 1


async def many_headers(each: Annotated[list[str], Header()]) -> Response:
    return Response()


async def closing(value: Annotated[int, Depends(closed)]) -> Response:
    return Response()


async def threaded(value: Annotated[str, Depends(in_a_thread)]) -> Response:
    return Response()


async def deep(value: Annotated[str, Depends(of_another)]) -> Response:
    return Response()


async def constant(value: Annotated[int, Depends(of_nothing)]) -> Response:
    return Response()


@pytest.mark.parametrize(
    ("endpoint", "method", "direct"),
    [
        (plain, "GET", True),
        (plain, "POST", False),
        (one_by_one, "GET", False),
        (with_body, "GET", False),
        (to_be_made, "GET", False),
        (many_headers, "GET", False),
        (closing, "GET", False),
        (threaded, "GET", False),
        (deep, "GET", False),
        (constant, "GET", False),
    ],
)
def test_what_only_fastapi_can_answer_is_left_to_it(
    endpoint: Callable[..., Any], method: str, direct: bool
) -> None:
    assert DirectRoute("/x", endpoint, methods=[method]).is_direct is direct


READS = {
    "get_health",
    "list_deals",
    "get_deal",
    "city_statistics",
    "list_hotels",
    "get_hotel",
    "list_categories",
}


def test_the_reads_are_direct(settings: Settings) -> None:
    """One that asks for more is slower, which is worth knowing."""
    app = create_app(settings)
    routes = [each.original_route for each in iter_route_contexts(app.routes)]

    direct = {
        each.operation_id for each in routes if isinstance(each, DirectRoute) and each.is_direct
    }
    assert direct >= READS
