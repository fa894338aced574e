"""Imports in SQL: what a client sees of them."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    bindparam,
    false,
    func,
    literal_column,
    select,
    true,
)

from app.db.reader import AnyRow, Reader
from app.models import Import, ImportChunk
from app.repositories.pagination import (
    NO_TOTAL,
    AnySelect,
    PagePosition,
    PageStatementKey,
    apply_page,
    ordering,
    split_total,
    with_total,
)

# Latest first.
ORDER = "-id"

_OWN = (
    Import.id,
    Import.state,
    Import.file_name,
    Import.bytes_total,
    Import.sha256,
    Import.strict,
    Import.dry_run,
    Import.columns,
    Import.error,
    Import.retry_at,
    Import.created_by,
    Import.created_at,
    Import.started_at,
    Import.finished_at,
)
_COUNTERS = (
    ImportChunk.rows_read,
    ImportChunk.inserted,
    ImportChunk.updated,
    ImportChunk.unchanged,
    ImportChunk.duplicates,
    ImportChunk.rejected,
)
_DERIVED = ("bytes_read", "rejects_kept", "warnings", "seconds")
# What a row of `page` and `get` has, in this order.
FIELDS = (*(column.key for column in (*_OWN, *_COUNTERS)), *_DERIVED)

_FILTERS: Mapping[str, ColumnElement[bool]] = {"state": Import.state == bindparam("state")}


class ImportReadRepository:
    """The imports, read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, Sequence[AnyRow]]:
        """The total unless `count` is "none", and the rows of `(total, *FIELDS)` at `place`."""
        statement = _page_statement(frozenset(filters), place.shape, counted=count != "none")
        return split_total(await self._reader.rows(statement, {**filters, **place.parameters}))

    async def get(self, import_id: int) -> AnyRow | None:
        """The row of `FIELDS` of an import."""
        return await self._reader.row(_ONE, {"import_id": import_id})

    async def next_rejects(self, import_id: int, after: int) -> AnyRow | None:
        """Number and rejects, compressed, of the first chunk behind number `after` that has any."""
        return await self._reader.row(_NEXT_REJECTS, {"import_id": import_id, "after": after})


def _with_counters(imports: AnySelect) -> AnySelect:
    """`imports`, rows of `_OWN`, with what their chunks add up to."""
    found = imports.subquery("found")
    sums = (
        select(
            *(
                func.coalesce(func.sum(column), 0).cast(BigInteger).label(column.key)
                for column in _COUNTERS
            ),
            func.coalesce(func.max(ImportChunk.bytes_read), 0).label("bytes_read"),
            # They are removed in batches, and some of them would look like all.
            func.coalesce(
                func.bool_and(ImportChunk.rejects.is_not(None)).filter(ImportChunk.rejected > 0),
                false(),
            ).label("rejects_kept"),
            # A JSON array of each chunk's: to add them up by code is the service's.
            func.jsonb_agg(ImportChunk.warnings)
            .filter(ImportChunk.warnings != literal_column("'{}'::jsonb"))
            .cast(Text)
            .label("warnings"),
        )
        .where(ImportChunk.import_id == found.c.id)
        .lateral("sums")
    )
    seconds = func.extract(
        "epoch", func.coalesce(found.c.finished_at, func.now()) - found.c.started_at
    )
    return select(*found.c, *sums.c, seconds.label("seconds")).join_from(found, sums, true())


_ONE = _with_counters(select(*_OWN).where(Import.id == bindparam("import_id")))

_NEXT_REJECTS = (
    select(ImportChunk.number, ImportChunk.rejects)
    .where(
        ImportChunk.import_id == bindparam("import_id"),
        ImportChunk.number > bindparam("after"),
        ImportChunk.rejects.is_not(None),
    )
    .order_by(ImportChunk.number)
    .limit(1)
)


@lru_cache(maxsize=16)
def _page_statement(
    filters: frozenset[str], shape: PageStatementKey, *, counted: bool
) -> AnySelect:
    narrowed = [_FILTERS[name] for name in sorted(filters)]
    matching = select(*_OWN).where(*narrowed)
    page = _with_counters(apply_page(matching, Import.__table__.c, shape)).subquery("page")
    total = (
        select(func.count()).select_from(Import).where(*narrowed).scalar_subquery()
        if counted
        else NO_TOTAL
    )
    return with_total(page, total, ordering(ORDER, page.c))
