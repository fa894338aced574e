"""Pagination: conversion of a query to a page request, and of the selected rows to a page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from app.repositories.pagination import PagePosition
from app.schemas.common import PageQuery, PaginatedResponse
from app.services.support.cursors import CursorCodec

_PAGE_FIELDS = {"sort", *PageQuery.model_fields}


T = TypeVar("T")


@dataclass(frozen=True)
class PageRequest:
    """A request for one page: filters, position, and the query to which cursors are bound."""

    filters: Mapping[str, Any]
    place: PagePosition
    _binding: Mapping[str, Any]
    _codec: CursorCodec

    @classmethod
    def of(cls, name: str, query: PageQuery, sort: str, codec: CursorCodec) -> "PageRequest":
        """Convert a query of the list `name` to a page request.

        Raises:
            InvalidInputError: the cursor was altered, or belongs to another list, sort or filter.
        """
        filters = filters_of(query)
        binding = {"list": name, "sort": sort, "filters": filters}
        after = codec.decode(binding, query.cursor) if query.cursor is not None else None
        place = PagePosition(sort, None if after else query.skip, after, query.limit)
        return cls(filters, place, binding, codec)

    def response(
        self, total: int | None, items: list[T], sort_value: Callable[[T, str], Any]
    ) -> PaginatedResponse[T]:
        """Build a page from `items`. If `items` has one more than the limit, a next page exists.

        `sort_value(item, field)` returns the value of a sort field.
        """
        limit, next_cursor = self.place.limit, None
        if len(items) > limit:
            values = [sort_value(items[limit - 1], field) for field, _ in self.place.fields]
            next_cursor = self._codec.encode(self._binding, values)
        return {
            "items": items[:limit],
            "total": total,
            "skip": self.place.skip,
            "limit": limit,
            "next_cursor": next_cursor,
        }


def filters_of(query: BaseModel) -> dict[str, Any]:
    """Return the filters that `query` sets, by name, without page and sort parameters."""
    return {
        name: value
        for name, value in query
        if name not in _PAGE_FIELDS and value is not None and value is not False
    }
