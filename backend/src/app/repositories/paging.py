"""One statement for a page and its total.

A page past the end has no row that could carry the total, so the total is the row and the page is
joined to it: `SELECT total, page.* FROM (total) LEFT JOIN (page) ON true`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    Subquery,
    literal,
    null,
    select,
    true,
)

# However many columns of whatever types.
AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

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
