"""One statement for a page and its total.

A page past the end has no row that could carry the total, so the total is the row and the page is
joined to it: `SELECT total, page.* FROM (total) LEFT JOIN (page) ON true`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    Subquery,
    bindparam,
    func,
    literal,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.sql.selectable import NamedFromClause

from app.db.reader import AnyRow
from app.schemas.common import BIGINT_END, PageQuery

USUAL_LIMIT: int = PageQuery.model_fields["limit"].default

# However many columns of whatever types.
AnySelect = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class PagePosition:
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
    def shape(self) -> "PageStatementKey":
        """What of this place is in the statement; the rest is in `parameters`."""
        start: PageStart = "first" if self.skip == 0 else "skip"
        usual = self.limit == USUAL_LIMIT
        return PageStatementKey(
            self.sort, "after" if self.after is not None else start, usual_limit=usual
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """What `apply_page` has bound."""
        limit = {} if self.limit == USUAL_LIMIT else {"limit": self.limit + 1}
        if self.after is not None:
            return {**limit, **{f"after_{n}": value for n, value in enumerate(self.after)}}
        return {**limit, "skip": self.skip} if self.skip else limit


PageStart = Literal["first", "skip", "after"]


@dataclass(frozen=True)
class PageStatementKey:
    """A kind of page that has a statement of its own.

    The usual limit belongs to it: PostgreSQL takes a tenth of the table for a limit it does not
    know, and then plans anew each time for the one it gets, which takes as long as the page itself.
    Not every limit does, because each statement that is kept takes 0.4 MB.
    """

    sort: str
    start: PageStart
    usual_limit: bool


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


def apply_page(rows: AnySelect, columns: Any, shape: PageStatementKey) -> AnySelect:
    """`rows` in order, narrowed to a page whose place is bound: `PagePosition.parameters`.

    One row more than the limit tells whether there is a next page. Behind a cursor the page is put
    together from one stretch of an index for each field of the sort.
    """
    if shape.start != "after":
        return _cut(rows, columns, shape)
    stretches = [
        _reach(rows.where(*where), columns, shape) for where in keyset_conditions(shape, columns)
    ]
    if len(stretches) == 1:
        return stretches[0]
    found = union_all(*(stretch.subquery().select() for stretch in stretches)).subquery("found")
    return _cut(select(*found.c), found.c, shape)


def merge_index_scans(
    ways: Sequence[AnySelect],
    columns: Any,
    whole: Callable[[NamedFromClause], AnySelect],
    shape: PageStatementKey,
) -> AnySelect:
    """A page in the order of `id` that is merged from what several rows each contribute.

    Args:
        ways: the contribution of one of them, correlated to it; of several ways to find it, all
            but one find nothing.
        columns: `id`, by that name, as the index of the parts has it.
        whole: joins them to the part.
        shape: the page; its sort is `id` or `-id`.
    """
    where = keyset_conditions(shape, columns)[0] if shape.start == "after" else []
    found = [_reach(way.where(*where), columns, shape) for way in ways]
    parts = (union_all(*found) if len(found) > 1 else found[0]).lateral("part")
    return _cut(whole(parts), parts.c, shape)


def keyset_conditions(shape: PageStatementKey, columns: Any) -> list[list[ColumnElement[bool]]]:
    """The rows after the bound place, in stretches, the nearest first.

    They are `a = x AND b = y AND id > z`, `a = x AND b > y`, and `a > x`. As one condition, or-ed
    together, an index would be read from the beginning of `a = x`, which for a field of few values
    is most of the table.
    """
    fields = [
        (columns[name], descending, bindparam(f"after_{n}", type_=columns[name].type))
        for n, (name, descending) in enumerate(sort_fields(shape.sort))
    ]
    stretches = []
    for n, (column, descending, place) in reversed(list(enumerate(fields))):
        same = [before == there for before, _, there in fields[:n]]
        stretches.append([*same, column < place if descending else column > place])
    return stretches


def _reach(rows: AnySelect, columns: Any, shape: PageStatementKey) -> AnySelect:
    """`rows` in order, as far as they can be on the page."""
    reach = _one_more(shape)
    if shape.start == "skip":
        # No row is that far, and the sum must be a bigint.
        reach += func.least(bindparam("skip", type_=BigInteger), literal(BIGINT_END // 2))
    return rows.order_by(*ordering(shape.sort, columns)).limit(reach)


def _cut(rows: AnySelect, columns: Any, shape: PageStatementKey) -> AnySelect:
    """`rows` in order, the page's and one more."""
    if shape.start == "skip":
        rows = rows.offset(bindparam("skip", type_=BigInteger))
    return rows.order_by(*ordering(shape.sort, columns)).limit(_one_more(shape))


def _one_more(shape: PageStatementKey) -> ColumnElement[int]:
    if shape.usual_limit:
        return literal_column(str(USUAL_LIMIT + 1), Integer)
    return bindparam("limit", type_=BigInteger)


NO_TOTAL: ColumnElement[int | None] = null().cast(BigInteger)


def count_rows(table: Any, conditions: Sequence[ColumnElement[bool]]) -> ScalarSelect[int]:
    """Return the number of rows of `table` that meet the conditions."""
    return select(func.count()).select_from(table).where(*conditions).scalar_subquery()


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
