"""Query strings of pages, validated by the pydantic models of the API."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Self, TypeVar, get_origin
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams

from app.core.errors import ErrorDetail, InvalidInputError
from app.schemas.validation_errors import MAX_DETAILS, error_detail

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_PLACES = frozenset({"skip", "cursor"})


@dataclass(frozen=True)
class ParsedQuery(Generic[M]):
    """The parameters of a query string, their validated values, and their errors.

    Empty parameters are ignored, because browsers send the empty fields of a form.
    """

    model: type[M]
    # Names and values in the order of the query string. A name can occur several times.
    given: tuple[tuple[str, str], ...]
    # The validated query, or None if it is invalid.
    query: M | None
    problems: tuple[ErrorDetail, ...] = field(default=())

    @classmethod
    def of(cls, model: type[M], parameters: QueryParams) -> Self:
        """Parse and validate the parameters as the API does."""
        given = tuple((name, value) for name, value in parameters.multi_items() if value)
        values: dict[str, str | list[str]] = dict(given)
        for name in _lists(model) & values.keys():
            values[name] = [value for each, value in given if each == name]
        try:
            return cls(model, given, model.model_validate(values))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)[:MAX_DETAILS]
            found = (error_detail({**each, "loc": ("query", *each["loc"])}) for each in problems)
            return cls(model, given, None, tuple(found))

    def refused(self, problems: Sequence[ErrorDetail]) -> Self:
        """Return a copy of this query with errors from a service, and without validated values."""
        return replace(self, query=None, problems=tuple(problems))

    def value(self, name: str) -> str:
        """Return the text of a parameter, even if it is invalid."""
        return dict(self.given).get(name, "")

    def values(self, name: str) -> list[str]:
        """Return all texts of a repeatable parameter."""
        return [value for each, value in self.given if each == name]

    def is_checked(self, name: str) -> bool:
        """Return whether a checkbox is ticked: its parameter is present and not false.

        If the query is invalid, any value of the parameter ticks the checkbox.
        """
        return bool(self.value(name) and (self.query is None or getattr(self.query, name)))

    def errors_for(self, name: str) -> list[str]:
        """Return the errors of a field. An error about two fields is returned for both."""
        return [each.message for each in self.problems if name in self._fields(each)]

    @property
    def form_errors(self) -> list[ErrorDetail]:
        """Return the errors that belong to no field of the form, such as unknown parameters."""
        shown = self.model.model_fields.keys() - _PLACES - {"count"}
        return [each for each in self.problems if not self._fields(each) & shown]

    def _fields(self, problem: ErrorDetail) -> set[str]:
        _, _, path = problem.field.partition(".")
        if path:
            return {path.partition(".")[0]}
        return self.model.model_fields.keys() & set(re.findall(r"\w+", problem.message))

    def address(self, path: str, **changes: str | int | None) -> str:
        """Return the URL of the page with `changes` applied. A value of None removes a parameter.

        The URL leads to the first page unless the changes contain `skip` or `cursor`.
        """
        kept = [
            (name, value)
            for name, value in self.given
            if name not in changes and name not in _PLACES
        ]
        added = [(name, str(value)) for name, value in changes.items() if value is not None]
        return _address(path, [*kept, *added])


@dataclass(frozen=True)
class SortLink:
    """The link in a column header, and the current sort order of the column."""

    href: str
    # The value of `aria-sort`.
    order: str


def sort_link(
    asked: ParsedQuery[M], path: str, name: str, now: str, *, descending_first: bool
) -> SortLink:
    """Return the link in the header of column `name`, on a page sorted by `now`.

    The link sorts by this column, or reverses the order of a page already sorted by it.
    """
    order = {name: "ascending", f"-{name}": "descending"}.get(now, "none")
    descending_next = descending_first if order == "none" else order == "ascending"
    return SortLink(asked.address(path, sort=f"{'-' if descending_next else ''}{name}"), order)


async def parse_and_query(
    asked: ParsedQuery[M], ask: Callable[[M], Awaitable[T]]
) -> tuple[ParsedQuery[M], T | None]:
    """Call `ask` with the validated query, and return the query and the result.

    If the query is invalid or `ask` refuses it, the result is None and the query has the errors.
    """
    if asked.query is None:
        return asked, None
    try:
        return asked, await ask(asked.query)
    except InvalidInputError as error:
        return asked.refused(error.details), None


def _address(path: str, parameters: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(parameters))
    return f"{path}?{query}" if query else path


def _lists(model: type[BaseModel]) -> set[str]:
    """Return the names of the model's list fields, which are the repeatable parameters."""
    return {
        name
        for name, each in model.model_fields.items()
        if any(get_origin(kind) is list for kind in _alternatives(each.annotation))
    }


def _alternatives(annotation: object) -> Sequence[object]:
    return (annotation, *getattr(annotation, "__args__", ()))
