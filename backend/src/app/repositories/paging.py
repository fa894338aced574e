"""One statement for a page and its total.

A page past the end has no row that could carry the total, so the total is the row and the page is
joined to it: `SELECT total, page.* FROM (total) LEFT JOIN (page) ON true`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    Subquery,
    and_,
    bindparam,
    false,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
)

from app.db.reading import AnyRow

# However many columns of whatever types.
AnySelect = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class Place:
    """Where in a list a page is, and in which order.

    Attributes:
        sort: comma-separated fields, `-` for descending; ties by `id`.
        skip: how many rows to pass over, for an offset page.
        after: what the row before the page sorts by, for a cursor page.
        limit: how many rows the page has at most.
    """

    sort: str
    skip: int | None
    after: Sequence[Any] | None
    limit: int

    @property
    def fields(self) -> list[tuple[str, bool]]:
        """Fields and whether they descend, down to `id`; what follows it could change nothing."""
        return sort_fields(self.sort)

    @property
    def shape(self) -> "PageShape":
        """What of this place is in the statement; the rest is in `parameters`."""
        start: PageStart = "first" if self.skip == 0 else "skip"
        return PageShape(self.sort, "after" if self.after is not None else start, self.limit)

    @property
    def parameters(self) -> dict[str, Any]:
        """What `paged` has bound."""
        if self.after is not None:
            return {f"after_{n}": value for n, value in enumerate(self.after)}
        return {"skip": self.skip} if self.skip else {}


PageStart = Literal["first", "skip", "after"]


@dataclass(frozen=True)
class PageShape:
    """A kind of page that has a statement of its own.

    The limit belongs to it: PostgreSQL takes a tenth of the table for a limit it does not know, and
    then plans anew each time for the one it gets, which takes as long as the page itself.
    """

    sort: str
    start: PageStart
    limit: int


def sort_fields(sort: str) -> list[tuple[str, bool]]:
    """The fields of a `sort` and whether they descend, ending with `id`."""
    fields: list[tuple[str, bool]] = []
    for field in [*sort.split(","), "id"]:
        fields.append((field.removeprefix("-"), field.startswith("-")))
        if fields[-1][0] == "id":
            break
    return fields


def ordering(sort: str, columns: Any) -> list[ColumnElement[Any]]:
    """`columns` in the order of `sort`."""
    return [
        columns[name].desc() if descending else columns[name].asc()
        for name, descending in sort_fields(sort)
    ]


def paged(rows: AnySelect, columns: Any, shape: PageShape) -> AnySelect:
    """`rows` in order, narrowed to a page whose place is bound: `Place.parameters`.

    One row more than the limit tells whether there is a next page.
    """
    if shape.start == "after":
        rows = rows.where(*_behind(shape.sort, columns))
    elif shape.start == "skip":
        rows = rows.offset(bindparam("skip"))
    one_more: ColumnElement[int] = literal_column(str(shape.limit + 1))
    return rows.order_by(*ordering(shape.sort, columns)).limit(one_more)


def _behind(sort: str, columns: Any) -> list[ColumnElement[bool]]:
    """Rows after the bound place: `a > x OR (a = x AND (b < y OR (b = y AND id > z)))`.

    Preceded by `a >= x`, which follows from it but is what an index can start from.
    """
    fields = [
        (columns[name], descending, bindparam(f"after_{n}", type_=columns[name].type))
        for n, (name, descending) in enumerate(sort_fields(sort))
    ]
    behind: ColumnElement[bool] = false()
    for column, descending, place in reversed(fields):
        further = column < place if descending else column > place
        behind = or_(further, and_(column == place, behind))
    column, descending, place = fields[0]
    return [column <= place if descending else column >= place, behind]


NO_TOTAL: ColumnElement[int | None] = null().cast(BigInteger)


def with_total(
    page: Subquery,
    total: ScalarSelect[int] | ColumnElement[Any],
    order: Sequence[ColumnElement[Any]],
) -> AnySelect:
    """A statement whose rows are `(total, *page columns)`, at least one row.

    Args:
        page: the rows of the page; its first column is never null.
        total: how many rows there are in all.
        order: the page's order, in columns of `page`; a join promises none.
    """
    counted = select(literal(1).label("one"), total.label("total")).subquery("counted")
    return (
        select(counted.c.total, *page.c)
        .select_from(counted.outerjoin(page, true()))
        .order_by(*order)
    )


def split_total(rows: Sequence[AnyRow]) -> tuple[int | None, Sequence[AnyRow]]:
    """The total and the page's rows of a `with_total` result."""
    total = rows[0][0]
    return total, [] if rows[0][1] is None else rows
