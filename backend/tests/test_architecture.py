"""Rules of the house that no linter knows; docs/architecture.md says why."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from app.config import Settings
from app.main import create_app
from app.schemas.common import ErrorEnvelope

pytestmark = pytest.mark.unit

SOURCE = Path(__file__).parents[1] / "src" / "app"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

SQL = {"select", "insert", "update", "delete", "text"}
HOMES_OF_SQL = {"repositories", "imports"}


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names called in a module, bare or as the last part of a dotted name, and their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield function.id, node.lineno
            elif isinstance(function, ast.Attribute):
                yield f".{function.attr}", node.lineno


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring not counted."""
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
    tree = ast.parse(file.read_text())
    relative = file.relative_to(SOURCE)

    if relative.parts[0] not in HOMES_OF_SQL | {"models"}:
        sql = SQL & imported_from_sqlalchemy(tree)
        assert not sql, f"{relative} builds SQL with {sql}: that belongs in a repository"
    commits = [line for name, line in calls(tree) if name == ".commit"]
    if relative != Path("db/session.py"):
        assert not commits, f"{relative}:{commits} commits: only db/session.py does"
    assert len(file.read_text().splitlines()) <= MAX_FILE_LINES, f"{relative} wants splitting"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = length(node)
            assert lines <= MAX_FUNCTION_LINES, f"{relative}: {node.name} has {lines} lines"


def test_the_rules_can_be_broken() -> None:
    tree = ast.parse("from sqlalchemy import select\nsession.commit()\nselect(1)")

    assert imported_from_sqlalchemy(tree) == {"select"}
    assert list(calls(tree)) == [(".commit", 2), ("select", 3)]


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


def api_routes(app: FastAPI) -> list[APIRoute]:
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    return [route for route in routes if isinstance(route, APIRoute)]


def test_every_route_declares_what_it_answers(app: FastAPI) -> None:
    routes = api_routes(app)
    assert len(routes) >= 7
    for route in routes:
        answers_with_a_body = route.status_code != 204
        if answers_with_a_body:
            assert route.response_model is not None, f"{route.path}: no response model"
        assert route.operation_id, f"{route.path}: no operation id"
        assert route.description, f"{route.path}: no description"
        for status in (422, 500, 503):
            assert route.responses[status]["model"] is ErrorEnvelope, f"{route.path}: {status}"
        if "{" in route.path:
            assert 404 in route.responses, f"{route.path}: 404"


def test_operation_ids_are_unique(app: FastAPI) -> None:
    ids = [route.operation_id for route in api_routes(app)]

    assert len(ids) == len(set(ids))
