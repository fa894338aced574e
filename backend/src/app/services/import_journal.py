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
    """Return the name that identifies an import's connections in `pg_stat_activity`."""
    return f"import {import_id}"


class ImportJournal:
    """A journal that stores the progress of one import attempt in the tables that clients read.

    The journal is fenced: it refuses results once a newer attempt has started or the import was
    cancelled. A worker that was wrongly considered dead therefore cannot store results.
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
        """Return the name that identifies the load's connections in `pg_stat_activity`."""
        return journal_name(self._import_id)

    async def begin(self, header: Header) -> None:
        """Store the file's column names.

        Raises:
            LoadStoppedError: the import was cancelled, or another worker has taken it over.
        """
        self._layout = RejectsLayout(header.names)
        async with self._database.uow.begin() as session:
            _require(await self._of(session).begin(header.names))

    def rejected_lines(self, number: int) -> Collection[int] | None:
        """Return a chunk's rejected line numbers, or None if no attempt has stored the chunk."""
        return self._rejected_lines.get(number)

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Store the result of a chunk.

        Raises:
            LoadStoppedError: the import was cancelled, or another worker has taken it over.
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
        """Store the totals of all valid rows and mark the import as succeeded.

        Raises:
            LoadStoppedError: the import was cancelled, or another worker has taken it over.
        """
        store = self._of(session)
        _require(await store.note_merged(merged.inserted, merged.updated, merged.unchanged))

    def _compressed(self, outcome: ChunkResult) -> bytes:
        return gzip.compress(as_csv(self._layout.rows(outcome.rejects)), compresslevel=6)

    def _of(self, session: AsyncSession) -> AttemptRepository:
        return AttemptRepository(session, self._import_id, self._attempt)


def _require(going_on: bool) -> None:  # noqa: FBT001 - a result, not an option
    if not going_on:
        raise LoadStoppedError("the import was cancelled, or another worker has taken it over")
