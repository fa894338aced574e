"""Architecture rules that no linter checks. docs/architecture.md gives the reasons."""

import ast
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, Query, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app.core.config import Settings
from app.http.dependencies import RequireDealWrite, get_actor
from app.http.openapi.errors import CREATE_ERRORS, DELETE_ERRORS, UPDATE_ERRORS, errors
from app.http.openapi.responses import PUBLIC
from app.main import create_app
from app.schemas.common import ErrorEnvelope
from app.schemas.health import HealthResponse
from app.web.routes import routes as web_routes

pytestmark = pytest.mark.unit

SOURCE = Path(__file__).parents[1] / "src" / "app"
FILES = sorted(SOURCE.rglob("*.py"))
BENCHMARKS = sorted((SOURCE.parents[1] / "benchmarks").rglob("*.py"))
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

SQL = {"select", "insert", "update", "delete", "text"}
HOMES_OF_SQL = {"repositories", "ingestion", "doctor"}


def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of a module.

    Python 3.11 fails with "recursion depth mismatch" if garbage is collected during the parse.
    """
    gc.disable()
    try:
        return ast.parse(file.read_text())
    finally:
        gc.enable()


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names of calls in a module and their lines. A dotted name is its last part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield function.id, node.lineno
            elif isinstance(function, ast.Attribute):
                yield f".{function.attr}", node.lineno


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function, without its docstring."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = (first.end_lineno or first.lineno) if documented else node.lineno - 1
    return (node.end_lineno or node.lineno) - start


def imported_from_sqlalchemy(tree: ast.AST) -> set[str]:
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        for alias in node.names
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_module_keeps_the_rules(file: Path) -> None:
    tree = parsed(file)
    relative = file.relative_to(SOURCE)

    if relative.parts[0] not in HOMES_OF_SQL | {"models"}:
        sql = SQL & imported_from_sqlalchemy(tree)
        assert not sql, f"{relative} builds SQL with {sql}: that belongs in a repository"
    commits = [line for name, line in calls(tree) if name == ".commit"]
    if relative != Path("db/unit_of_work.py"):
        assert not commits, f"{relative}:{commits} commits: only db/unit_of_work.py does"


@pytest.mark.parametrize("file", [*FILES, *BENCHMARKS], ids=lambda file: file.stem)
def test_a_module_is_no_longer_than_one_reads_at_once(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert length(node) <= MAX_FUNCTION_LINES, node.name


def test_the_rules_can_be_broken() -> None:
    tree = ast.parse("from sqlalchemy import select\nsession.commit()\nselect(1)")

    assert imported_from_sqlalchemy(tree) == {"select"}
    assert list(calls(tree)) == [(".commit", 2), ("select", 3)]


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


READING = {"GET", "HEAD"}
EVERYWHERE = {422, 500, 503}
WRITING = {401, 403, 409, 413}


def asks_who_it_is(dependant: Dependant) -> bool:
    """Return whether a route depends on `get_actor` at any depth."""
    return dependant.call is get_actor or any(map(asks_who_it_is, dependant.dependencies))


def complaints(app: FastAPI) -> Iterator[str]:
    """Yield the violations of all routes, included or mounted."""
    own = {app.openapi_url, "/metrics"}
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute):
            where = f"{' '.join(sorted(route.methods or ()))} {route.path_format}"
            yield from (f"{where}: {wrong}" for wrong in wrong_with(route))
        elif (route.path not in own and route.original_route not in web_routes) or not (
            route.methods or {"?"}
        ) <= READING:
            yield f"{route.path}: is no API route"


def wrong_with(route: RouteContext) -> Iterator[str]:
    guarded = asks_who_it_is(route.dependant)
    public = (route.openapi_extra or {}).get("security") == PUBLIC["security"]
    reads = (route.methods or set()) <= READING
    if not guarded and not public:
        yield "neither asks who it is nor is PUBLIC"
    if public and (guarded or not reads):
        yield "is PUBLIC, but asks who it is or writes"
    streamed = getattr(route.original_route, "stream_item_type", None)
    if route.response_model is None and streamed is None and route.status_code != 204:
        yield "no response model"
    if not route.operation_id:
        yield "no operation id"
    if not route.summary:
        yield "no summary"
    if not route.description:
        yield "no description"
    expected = EVERYWHERE | (set() if reads else WRITING)
    expected |= {404} if "{" in (route.path or "") else set()
    expected |= {415} if route.dependant.body_params else set()
    for status in sorted(expected):
        if route.responses.get(status, {}).get("model") is not ErrorEnvelope:
            yield f"no {status}"


def test_every_route_is_guarded_or_public_and_declares_what_it_answers(app: FastAPI) -> None:
    assert list(complaints(app)) == []


def test_what_is_public_is_listed_here_too(app: FastAPI) -> None:
    """A second list keeps one word in a long change from making a route public."""
    public = {
        route.operation_id
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute) and not asks_who_it_is(route.dependant)
    }

    assert public == {
        "get_health",
        "get_liveness",
        "get_readiness",
        "list_deals",
        "get_deal",
        "city_statistics",
        "export_deals",
        "list_hotels",
        "get_hotel",
        "list_categories",
    }


@pytest.mark.parametrize(
    ("method", "options", "complaint"),
    [
        ("GET", {}, "neither asks who it is nor is PUBLIC"),
        ("POST", {}, "neither asks who it is nor is PUBLIC"),
        ("POST", {"openapi_extra": PUBLIC}, "is PUBLIC, but asks who it is or writes"),
        (
            "GET",
            {"openapi_extra": PUBLIC, "dependencies": [RequireDealWrite]},
            "is PUBLIC, but asks who it is or writes",
        ),
        ("GET", {"openapi_extra": PUBLIC, "response_model": None}, "no response model"),
        ("GET", {"openapi_extra": PUBLIC, "operation_id": None}, "no operation id"),
        ("GET", {"openapi_extra": PUBLIC, "summary": None}, "no summary"),
        ("GET", {"openapi_extra": PUBLIC, "description": ""}, "no description"),
        ("GET", {"openapi_extra": PUBLIC, "responses": {}}, "no 422"),
        ("DELETE", {"dependencies": [RequireDealWrite], "responses": errors()}, "no 401"),
        (
            "POST",
            {"dependencies": [RequireDealWrite], "responses": errors(*DELETE_ERRORS)},
            "no 415",
        ),
    ],
)
@pytest.mark.parametrize("included", [False, True])
def test_a_route_that_breaks_a_rule_is_found(
    method: str, options: dict[str, Any], complaint: str, included: bool
) -> None:
    app, router = FastAPI(), APIRouter(prefix="/deep")
    good = {
        "response_model": HealthResponse,
        "operation_id": "x",
        "summary": "x",
        "description": "x",
        "responses": errors(*UPDATE_ERRORS),
    }
    target = router if included else app
    body = Body() if method == "POST" else Query()

    @target.api_route("/x", methods=[method], **{**good, **options})
    async def endpoint(value: Annotated[str, body]) -> None: ...

    app.include_router(router)
    where = f"{method} {'/deep' if included else ''}/x"
    assert f"{where}: {complaint}" in list(complaints(app))


def test_a_good_route_is_not_complained_about() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post(
        "/x",
        response_model=HealthResponse,
        operation_id="x",
        summary="X",
        responses=errors(*CREATE_ERRORS),
        dependencies=[RequireDealWrite],
    )
    async def endpoint(value: Annotated[str, Body()]) -> None:
        """Describe an endpoint."""

    assert list(complaints(app)) == []


def test_what_is_no_api_route_is_found() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.mount("/files", FastAPI())
    app.add_route("/plain", lambda _: Response(), methods=["POST"])

    assert list(complaints(app)) == ["/files: is no API route", "/plain: is no API route"]


def test_operation_ids_are_unique(app: FastAPI) -> None:
    contexts = iter_route_contexts(app.routes)
    ids = [route.operation_id for route in contexts if isinstance(route.original_route, APIRoute)]

    assert len(ids) >= 14
    assert len(ids) == len(set(ids))
