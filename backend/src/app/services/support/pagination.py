"""From a query to the arguments of a repository's page, and from its rows to the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.db.reader import AnyRow
from app.repositories.pagination import PagePosition
from app.schemas.common import PageQuery
from app.services.support.cursors import CursorCodec

_PAGE_FIELDS = {"sort", *PageQuery.model_fields}


@dataclass(frozen=True)
class Page:
    """The rows of a page and what a client needs to go on."""

    rows: Sequence[AnyRow]
    skip: int | None
    next_cursor: str | None


@dataclass(frozen=True)
class PageRequest:
    """One page of a list: its filters, its place, and the binding of its cursors."""

    filters: Mapping[str, Any]
    place: PagePosition
    _binding: Mapping[str, Any]
    _codec: CursorCodec

    @classmethod
    def of(cls, name: str, query: PageQuery, sort: str, codec: CursorCodec) -> "PageRequest":
        """What `query` asks of the list `name`.

        Raises:
            InvalidInputError: its cursor was altered, or is of another list, sort or filters.
        """
        filters = filters_of(query)
        binding = {"list": name, "sort": sort, "filters": filters}
        after = codec.decode(binding, query.cursor) if query.cursor is not None else None
        place = PagePosition(sort, None if after else query.skip, after, query.limit)
        return cls(filters, place, binding, codec)

    def page(self, rows: Sequence[AnyRow], columns: Mapping[str, int]) -> Page:
        """The page from its rows, which are one more than the limit when it is not the last.

        `columns` says where in a row the fields are that the list can be sorted by.
        """
        limit = self.place.limit
        if len(rows) <= limit:
            return Page(rows, self.place.skip, None)
        last = rows[limit - 1]
        values = [last[columns[field]] for field, _ in self.place.fields]
        cursor = self._codec.encode(self._binding, values)
        return Page(rows[:limit], self.place.skip, cursor)


def filters_of(query: BaseModel) -> dict[str, Any]:
    """The filters that `query` sets, by name; neither page nor order is one."""
    return {
        name: value
        for name, value in query
        if name not in _PAGE_FIELDS and value is not None and value is not False
    }
