"""Queries that read imports."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

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
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Import, ImportChunk
from app.repositories.pagination import (
    NO_TOTAL,
    AnySelect,
    PagePosition,
    PageStatementKey,
    apply_page,
    count_rows,
    ordering,
    split_total,
    with_total,
)
from app.schemas.imports import ImportState

# Pages of imports start with the latest import.
ORDER = "-id"

_COUNTERS = (
    ImportChunk.rows_read,
    ImportChunk.inserted,
    ImportChunk.updated,
    ImportChunk.unchanged,
    ImportChunk.duplicates,
    ImportChunk.rejected,
)


class ImportRow(NamedTuple):
    """An import with the sums of its chunks' counters. The fields have the order of the columns.

    `warnings` is a JSON array of the chunks' warnings, or None if no chunk has a warning. `seconds`
    is the duration so far, or None before the import starts.
    """

    id: int
    state: ImportState
    file_name: str | None
    bytes_total: int
    sha256: bytes
    strict: bool
    dry_run: bool
    columns: Sequence[str] | None
    error: str | None
    retry_at: datetime | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    rows_read: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    bytes_read: int
    rejects_kept: bool
    warnings: str | None
    seconds: Decimal | None


_OWN = tuple(getattr(Import, name) for name in ImportRow._fields if name in Import.__table__.c)


class RejectsChunk(NamedTuple):
    """The rejected rows of a chunk, as gzip-compressed CSV."""

    number: int
    compressed: bytes


_FILTERS: Mapping[str, ColumnElement[bool]] = {"state": Import.state == bindparam("state")}


class ImportReadRepository:
    """Queries that read imports in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def page(
        self, filters: Mapping[str, Any], place: PagePosition, count: str
    ) -> tuple[int | None, list[ImportRow]]:
        """Return a page of imports and the total. The total is None if `count` is "none"."""
        statement = _page_statement(frozenset(filters), place.shape, counted=count != "none")
        parameters = {**filters, **place.parameters}
        found = await self._session.execute(statement, parameters)
        total, rows = split_total(found.all())
        return total, [ImportRow(*row[1:]) for row in rows]

    async def get(self, import_id: int) -> ImportRow | None:
        """Return an import, or None if it does not exist."""
        found = await self._session.execute(_ONE, {"import_id": import_id})
        row = found.one_or_none()
        return ImportRow(*row) if row else None

    async def next_rejects(self, import_id: int, after: int) -> RejectsChunk | None:
        """Return the next chunk with rejects after chunk number `after`, or None at the end."""
        parameters = {"import_id": import_id, "after": after}
        row = (await self._session.execute(_NEXT_REJECTS, parameters)).one_or_none()
        return RejectsChunk(*row) if row else None


def _with_counters(imports: AnySelect) -> AnySelect:
    """Extend a SELECT of `_OWN` with columns that summarize each import's chunks."""
    found = imports.subquery("found")
    sums = (
        select(
            *(
                func.coalesce(func.sum(column), 0).cast(BigInteger).label(column.key)
                for column in _COUNTERS
            ),
            func.coalesce(func.max(ImportChunk.bytes_read), 0).label("bytes_read"),
            # True if the rejects of all chunks are stored. Housekeeping deletes rejects in batches,
            # and a client could not notice missing rejects.
            func.coalesce(
                func.bool_and(ImportChunk.rejects.is_not(None)).filter(ImportChunk.rejected > 0),
                false(),
            ).label("rejects_kept"),
            # A JSON array of the chunks' warnings. The service adds up the warnings by code.
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

_NEXT_REJECTS: AnySelect = (
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
    total = count_rows(Import, narrowed) if counted else NO_TOTAL
    return with_total(page, total, ordering(ORDER, page.c))
