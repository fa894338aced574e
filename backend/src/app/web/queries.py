"""What a page's address asks for, checked by the very models that check the API's requests."""

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
    """A query as it came, what it means, and what is wrong with it.

    A form sends the fields that nobody has filled in, too: an empty one is as good as absent.
    """

    model: type[M]
    # In the order they came; the fields of a form may be there several times.
    given: tuple[tuple[str, str], ...]
    # None: it is refused.
    query: M | None
    problems: tuple[ErrorDetail, ...] = field(default=())

    @classmethod
    def of(cls, model: type[M], parameters: QueryParams) -> Self:
        """Check the parameters as the API does."""
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
        """The same query, found wrong by a service."""
        return replace(self, query=None, problems=tuple(problems))

    def value(self, name: str) -> str:
        """What was typed into a field, right or wrong."""
        return dict(self.given).get(name, "")

    def values(self, name: str) -> list[str]:
        """The same, of a field that may be there several times."""
        return [value for each, value in self.given if each == name]

    def is_checked(self, name: str) -> bool:
        """Whether a box is ticked: it is there, and unless all is refused it does not say no."""
        return bool(self.value(name) and (self.query is None or getattr(self.query, name)))

    def errors_for(self, name: str) -> list[str]:
        """What is wrong with a field; a rule about two fields is told beside both."""
        return [each.message for each in self.problems if name in self._fields(each)]

    @property
    def form_errors(self) -> list[ErrorDetail]:
        """What is wrong with no field of the form: unknown names, the place of the page."""
        shown = self.model.model_fields.keys() - _PLACES - {"count"}
        return [each for each in self.problems if not self._fields(each) & shown]

    def _fields(self, problem: ErrorDetail) -> set[str]:
        _, _, path = problem.field.partition(".")
        if path:
            return {path.partition(".")[0]}
        return self.model.model_fields.keys() & set(re.findall(r"\w+", problem.message))

    def address(self, path: str, **changes: str | int | None) -> str:
        """The page's own address with some parameters changed, None for left out.

        It leads to the first page unless the change says to which.
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
    """A column's header: where it leads, and the order it stands for now."""

    href: str
    # The value of `aria-sort`.
    order: str


def sort_link(
    asked: ParsedQuery[M], path: str, name: str, now: str, *, descending_first: bool
) -> SortLink:
    """The header of the column `name` of a page sorted by `now`; it turns the order round."""
    order = {name: "ascending", f"-{name}": "descending"}.get(now, "none")
    descending_next = descending_first if order == "none" else order == "ascending"
    return SortLink(asked.address(path, sort=f"{'-' if descending_next else ''}{name}"), order)


async def parse_and_query(
    asked: ParsedQuery[M], ask: Callable[[M], Awaitable[T]]
) -> tuple[ParsedQuery[M], T | None]:
    """What a service finds; nothing if the query is wrong, or the service says that it is."""
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
    """Fields that may be there several times."""
    return {
        name
        for name, each in model.model_fields.items()
        if any(get_origin(kind) is list for kind in _alternatives(each.annotation))
    }


def _alternatives(annotation: object) -> Sequence[object]:
    return (annotation, *getattr(annotation, "__args__", ()))
