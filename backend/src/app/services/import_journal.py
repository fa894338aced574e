import asyncio
import gzip
from collections.abc import Collection, Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import LoadStoppedError
from app.db.session import Database
from app.ingestion.check.rejects import RejectsLayout, as_csv
from app.ingestion.merge.journal import ChunkResult
from app.ingestion.merge.staging import Merged
from app.ingestion.read.header import Header
from app.repositories.imports.write import AttemptRepository, ChunkRecord


def journal_name(import_id: int) -> str:
    """Return the name by which PostgreSQL's session list shows the load of an import."""
    return f"import {import_id}"


class ImportJournal:
    """The journal of one attempt at an import, in the tables that clients read.

    It is fenced: it stores results only while its attempt is the latest one and the import is not
    cancelled. A worker that was wrongly considered dead can therefore do no harm.
    """

    def __init__(
        self,
        database: Database,
        import_id: int,
        attempt: int,
        rejected_lines: Mapping[int, Collection[int]],
    ) -> None:
        self._database = database
        self._import_id = import_id
        self._attempt = attempt
        self._rejected_lines = rejected_lines
        self._layout = RejectsLayout(())

    @property
    def name(self) -> str:
        """Return the name of the load in PostgreSQL's session list."""
        return journal_name(self._import_id)

    async def begin(self, header: Header) -> None:
        """Store the columns of the file.

        Raises:
            LoadStoppedError: the load must stop.
        """
        self._layout = RejectsLayout(header.names)
        async with self._database.uow.begin() as session:
            _require(await self._of(session).begin(header.names))

    def rejected_lines(self, number: int) -> Collection[int] | None:
        """Return the rejected lines of a chunk, or None if no earlier attempt stored the chunk."""
        return self._rejected_lines.get(number)

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Store the result of a chunk.

        Raises:
            LoadStoppedError: the load must stop.
        """
        rejects = await asyncio.to_thread(self._compressed, outcome) if outcome.rejects else None
        note = ChunkRecord(
            number=outcome.number,
            rows_read=outcome.chunk.rows,
            inserted=outcome.merged.inserted,
            updated=outcome.merged.updated,
            unchanged=outcome.merged.unchanged,
            duplicates=outcome.duplicates,
            rejected=len(outcome.rejects),
            bytes_read=outcome.chunk.bytes_read,
            rejects=rejects,
            rejected_lines=[reject.line for reject in outcome.rejects],
            warnings=outcome.warnings,
        )
        _require(await self._of(session).note(note))

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Store the totals of the valid rows of all chunks and mark the import as succeeded.

        Raises:
            LoadStoppedError: the load must stop.
        """
        store = self._of(session)
        _require(await store.note_merged(merged.inserted, merged.updated, merged.unchanged))

    def _compressed(self, outcome: ChunkResult) -> bytes:
        return gzip.compress(as_csv(self._layout.rows(outcome.rejects)), compresslevel=6)

    def _of(self, session: AsyncSession) -> AttemptRepository:
        return AttemptRepository(session, self._import_id, self._attempt)


def _require(going_on: bool) -> None:  # noqa: FBT001 - the answer of a store
    if not going_on:
        raise LoadStoppedError("the import was cancelled, or another worker has taken it over")
