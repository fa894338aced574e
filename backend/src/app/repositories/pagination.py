"""Pagination with one statement that returns a page and the total.

An empty page has no row that could contain the total. Therefore the statement left-joins the page
to the total: `SELECT total, page.* FROM (total) LEFT JOIN (page) ON true`.
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

# A SELECT with any number of columns of any types.
AnySelect = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class PagePosition:
    """The position of a page in a sorted list.

    Attributes:
        sort: comma-separated fields, with a leading `-` for descending. Ties are sorted by `id`.
        skip: how many rows to skip, for a page by offset.
        after: the sort values of the previous page's last row, for a page by cursor.
        limit: the maximum number of rows on the page.
    """

    sort: str
    skip: int | None
    after: Sequence[Any] | None
    limit: int

    @property
    def fields(self) -> list[tuple[str, bool]]:
        """Return each sort field up to `id`, paired with True if its order is descending."""
        return sort_fields(self.sort)

    @property
    def shape(self) -> "PageStatementKey":
        """Return the key under which the page's statement is cached."""
        start: PageStart = "first" if self.skip == 0 else "skip"
        usual = self.limit == USUAL_LIMIT
        return PageStatementKey(
            self.sort, "after" if self.after is not None else start, usual_limit=usual
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the values of the bound parameters in a statement built by `apply_page`."""
        limit = {} if self.limit == USUAL_LIMIT else {"limit": self.limit + 1}
        if self.after is not None:
            return {**limit, **{f"after_{n}": value for n, value in enumerate(self.after)}}
        return {**limit, "skip": self.skip} if self.skip else limit


PageStart = Literal["first", "skip", "after"]


@dataclass(frozen=True)
class PageStatementKey:
    """The key of a page's cached statement.

    The SQL text contains the default limit as a constant. If the limit were a bound parameter,
    PostgreSQL would assume a limit of a tenth of the table and plan each execution again. Planning
    takes as long as reading the page. All other limits are bound parameters, because each cached
    statement takes 0.4 MB.
    """

    sort: str
    start: PageStart
    usual_limit: bool


def sort_fields(sort: str) -> list[tuple[str, bool]]:
    """Return each field of `sort` up to `id`, paired with True if its order is descending.

    Fields after `id` are dropped, because `id` is unique. If `id` is missing, it is appended.
    """
    fields: list[tuple[str, bool]] = []
    for field in [*sort.split(","), "id"]:
        fields.append((field.removeprefix("-"), field.startswith("-")))
        if fields[-1][0] == "id":
            break
    return fields


def ordering(sort: str, columns: Any) -> list[ColumnElement[Any]]:
    """Return the ORDER BY expressions for `sort`, with columns from `columns`."""
    return [
        columns[name].desc() if descending else columns[name].asc()
        for name, descending in sort_fields(sort)
    ]


def apply_page(rows: AnySelect, columns: Any, shape: PageStatementKey) -> AnySelect:
    """Sort the statement `rows` and restrict it to one page.

    If a next page exists, the statement returns one row more than the limit. For a page after a
    cursor, the statement combines one index range scan per sort field.
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
    """Build a page sorted by `id`, merged from one index scan per outer row (hotel or category).

    Args:
        ways: alternative scans, correlated to the outer row. At most one of them returns rows.
        columns: a mapping from "id" to the scanned index's id column.
        whole: a function that joins the outer rows to their scans.
        shape: the page. Its sort must be `id` or `-id`.
    """
    where = keyset_conditions(shape, columns)[0] if shape.start == "after" else []
    found = [_reach(way.where(*where), columns, shape) for way in ways]
    parts = (union_all(*found) if len(found) > 1 else found[0]).lateral("part")
    return _cut(whole(parts), parts.c, shape)


def keyset_conditions(shape: PageStatementKey, columns: Any) -> list[list[ColumnElement[bool]]]:
    """Return SQL conditions that together select the rows after the cursor.

    Each condition selects one index range, and the ranges are in page order. For the sort `a,b` the
    conditions are `a = x AND b = y AND id > z`, `a = x AND b > y`, and `a > x`. If one condition
    combined them by OR, PostgreSQL would scan an index from the first row with `a = x`. If `a` has
    few distinct values, that scan may read most of the table.
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
    """Sort `rows`, and limit them to the skipped rows, the page and one more row."""
    reach = _one_more(shape)
    if shape.start == "skip":
        # Cap `skip`, so that the bigint sum cannot overflow. No table has that many rows.
        reach += func.least(bindparam("skip", type_=BigInteger), literal(BIGINT_END // 2))
    return rows.order_by(*ordering(shape.sort, columns)).limit(reach)


def _cut(rows: AnySelect, columns: Any, shape: PageStatementKey) -> AnySelect:
    """Sort `rows`, apply the page's offset if it has one, and keep one row more than the limit."""
    if shape.start == "skip":
        rows = rows.offset(bindparam("skip", type_=BigInteger))
    return rows.order_by(*ordering(shape.sort, columns)).limit(_one_more(shape))


def _one_more(shape: PageStatementKey) -> ColumnElement[int]:
    if shape.usual_limit:
        return literal_column(str(USUAL_LIMIT + 1), Integer)
    return bindparam("limit", type_=BigInteger)


NO_TOTAL: ColumnElement[int | None] = null().cast(BigInteger)


def count_rows(table: Any, conditions: Sequence[ColumnElement[bool]]) -> ScalarSelect[int]:
    """Return a subquery that counts the rows of `table` that meet all conditions."""
    return select(func.count()).select_from(table).where(*conditions).scalar_subquery()


def with_total(
    page: Subquery,
    total: ScalarSelect[int] | ColumnElement[Any],
    order: Sequence[ColumnElement[Any]],
) -> AnySelect:
    """Build a statement that returns rows of `(total, *page columns)`.

    For an empty page, the statement returns one row, in which the page columns are null.

    Args:
        page: the rows of the page. The first column must never be null.
        total: the number of rows on all pages together.
        order: the ORDER BY of the page, in terms of the columns of `page`. The statement applies it
            again, because the outer join need not keep the order of `page`.
    """
    counted = select(literal(1).label("one"), total.label("total")).subquery("counted")
    return (
        select(counted.c.total, *page.c)
        .select_from(counted.outerjoin(page, true()))
        .order_by(*order)
    )


def split_total(rows: Sequence[AnyRow]) -> tuple[int | None, Sequence[AnyRow]]:
    """Return the total and the rows of a `with_total` result. The rows still contain the total."""
    total = rows[0][0]
    return total, [] if rows[0][1] is None else rows
