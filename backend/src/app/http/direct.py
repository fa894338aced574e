"""Reads without what FastAPI does for routes that could be anything."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import Match
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """A route declared as any other, whose arguments are found by what was worked out once.

    For each request FastAPI works out anew what every parameter of every dependency is, makes a
    response in case one of them wants to change it and stacks in case one has to be closed, and
    looks for cookies and a body: half of the time of a read. What a route asks for does not change.
    The validators are those that FastAPI made, and a request that they refuse goes on to FastAPI,
    whose words for what is wrong are the contract.

    That is so for a GET that returns a `Response`, whose parameters are in the path, in headers, or
    all of the query in one model, and whose dependencies take the request and nothing else. Any
    other route is FastAPI's altogether, and slower. Dependencies given to `include_router` would
    not be seen here: `create_app` takes the routes as they are, and tests/test_architecture.py
    holds it to that.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._arguments = _arguments(self)
        self._is_one_path = "{" not in path

    @property
    def is_direct(self) -> bool:
        """Whether this is a route as described above."""
        return self._arguments is not None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As FastAPI's, which tries a regular expression for each route up to the right one."""
        if self._is_one_path and scope["path"] != self.path and not scope.get("root_path"):
            return Match.NONE, {}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let FastAPI refuse."""
        if self._arguments is not None and scope["method"] == "GET":
            request = Request(scope, receive, send)
            try:
                arguments = await self._arguments.of(request)
            except _RefusedError:
                pass
            else:
                response: Response = await self.endpoint(**arguments)
                await response(scope, receive, send)
                return
        await super().handle(scope, receive, send)


class _RefusedError(Exception):
    """The request is not one that the route answers."""


@dataclass(frozen=True)
class _Parameter:
    """One that is validated as FastAPI does."""

    name: str
    # As it is called in a request; a query's model is all of the query.
    alias: str
    # Returns the value and what is wrong with it.
    validate: Callable[[Any, dict[str, Any]], tuple[Any, list[Any]]]
    required: bool
    default: Any

    @classmethod
    def many(cls, declared: Iterable[Any]) -> "tuple[_Parameter, ...]":
        """Those that FastAPI has found in a signature."""
        return tuple(
            cls(
                field.name,
                field.alias,
                field.validate,
                field.field_info.is_required(),
                field.get_default(),
            )
            for field in declared
        )

    def read(self, sent: Any) -> Any:
        """The argument, from what was sent under its alias."""
        if sent is None:
            if self.required:
                raise _RefusedError
            return self.default
        value, errors = self.validate(sent, {})
        if errors:
            raise _RefusedError
        return value


@dataclass(frozen=True)
class _Arguments:
    """Where in a request the arguments of a route are."""

    request: str | None
    path: tuple[_Parameter, ...]
    headers: tuple[_Parameter, ...]
    query: _Parameter | None
    # The query's parameters that may come more than once; of any other the last one counts.
    repeatable: frozenset[str]
    dependencies: tuple[tuple[str | None, Callable[[Request], Awaitable[Any]]], ...]

    async def of(self, request: Request) -> dict[str, Any]:
        """The arguments, by name.

        Raises:
            _RefusedError: a parameter is missing or wrong.
            AppError: raised by a dependency.
        """
        found: dict[str, Any] = {}
        if self.request is not None:
            found[self.request] = request
        for parameter in self.path:
            found[parameter.name] = parameter.read(request.path_params.get(parameter.alias))
        for parameter in self.headers:
            found[parameter.name] = parameter.read(request.headers.get(parameter.alias))
        if self.query is not None:
            found[self.query.name] = self.query.read(self._query(request))
        for name, dependency in self.dependencies:
            value = await dependency(request)
            if name is not None:
                found[name] = value
        return found

    def _query(self, request: Request) -> dict[str, str | list[str]]:
        sent: dict[str, Any] = {}
        if request.scope["query_string"]:
            for name, value in request.query_params.multi_items():
                if name in self.repeatable:
                    sent.setdefault(name, []).append(value)
                else:
                    sent[name] = value
        return sent


def _arguments(route: APIRoute) -> _Arguments | None:
    """Of a route as `DirectRoute` describes; None of any other."""
    declared = route.dependant
    returned = inspect.signature(route.endpoint).return_annotation
    model = declared.query_params[0].field_info.annotation if declared.query_params else None
    if not (
        route.methods == {"GET"}
        and isinstance(returned, type)
        and issubclass(returned, Response)
        and len(declared.query_params) <= 1
        and (model is None or (isinstance(model, type) and issubclass(model, BaseModel)))
        and all(each.field_info.annotation in (str, str | None) for each in declared.header_params)
        and _asks_only_for(declared, "path_params", "query_params", "header_params", "dependencies")
        and all(map(_takes_the_request, declared.dependencies))
    ):
        return None
    query = _Parameter.many(declared.query_params)
    return _Arguments(
        declared.request_param_name,
        _Parameter.many(declared.path_params),
        _Parameter.many(declared.header_params),
        query[0] if query else None,
        _repeatable(model) if model else frozenset(),
        # The request by position, whatever it is called there.
        tuple((each.name, each.call) for each in declared.dependencies if each.call),
    )


_OF_NO_CONSEQUENCE = {"name", "call", "path", "use_cache", "scope", "request_param_name"}


def _asks_only_for(declared: Dependant, *kinds: str) -> bool:
    """Whether a function takes nothing but the request and these kinds of things."""
    others = {field.name for field in fields(Dependant)} - _OF_NO_CONSEQUENCE - set(kinds)
    return not any(getattr(declared, name) for name in others)


def _takes_the_request(dependency: Dependant) -> bool:
    return (
        dependency.request_param_name is not None
        and _asks_only_for(dependency)
        and inspect.iscoroutinefunction(dependency.call)
    )


def _repeatable(model: type[BaseModel]) -> frozenset[str]:
    properties = model.model_json_schema()["properties"]
    return frozenset(name for name, each in properties.items() if each.get("type") == "array")
