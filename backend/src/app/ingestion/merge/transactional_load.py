"""Loads in a single transaction: strict loads (all rows or none) and dry runs."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from app.core.errors import ConflictError, NotFoundError
from app.ingestion.check.conflicts import KnownHotels
from app.ingestion.check.validated_chunk import ValidatedChunk
from app.ingestion.merge.journal import ChunkResult
from app.ingestion.merge.pipeline import OTHER_WRITERS, Load, is_race
from app.ingestion.merge.staging import Staging
from app.ingestion.read.header import Header
from app.ingestion.read.source import Source


class _HeldBackError(Exception):
    """An exception that is raised only to roll the transaction back."""


class _WholeLoad(Load):
    async def _prepared(
        self, staging: Staging, source: Source, header: Header, rows: int
    ) -> AsyncGenerator[tuple[ChunkResult, bytes]]:
        """Yield each chunk's result without merge counts, and its accepted rows for COPY."""
        number = 0
        async with aclosing(self.checked(source, header, rows)) as checked:
            async for chunk in checked:
                yield await self._prepare_surely(staging, chunk, number)
                number += 1

    async def _prepare_surely(
        self, staging: Staging, chunk: ValidatedChunk, number: int
    ) -> tuple[ChunkResult, bytes]:
        known = KnownHotels.stored(await staging.find_hotels(chunk.hotels))
        decision = await self.decide_in_turn(chunk, known)
        work = chunk.only(decision.accepted)
        rejects = chunk.rejects + decision.rejects
        outcome = ChunkResult(number, chunk.chunk, decision.duplicates, rejects)
        while (lines := await self.prepare(staging, work, known)) is None:
            known = KnownHotels.stored(await staging.find_hotels(work.hotels))
            work, outcome = await self.decide_again(work, known, outcome)
        return outcome, lines

    async def _note_alone(self, outcome: ChunkResult) -> None:
        """Record a chunk in a separate transaction, so that clients see the progress at once."""
        async with self.database.uow.begin() as session:
            await self.journal.note(session, outcome)
        self.count(outcome)


class StrictLoad(_WholeLoad):
    """A load that stores all rows, or none if a row is rejected.

    Rows are held in a temporary table until all are known to be valid. After the first reject, rows
    are only checked. The new hotels of checked rows are still inserted, because later rows may
    conflict with these hotels. If any row was rejected, the transaction is rolled back at the end.
    """

    async def run(self, source: Source, header: Header, rows: int) -> None:
        """Load the file, or store nothing if one of its rows is rejected.

        Raises:
            ConflictError: another writer has changed the same rows. A retry may succeed.
        """
        try:
            await self._run(source, header, rows)
        except (NotFoundError, DBAPIError) as error:
            if not is_race(error):
                raise
            raise ConflictError(OTHER_WRITERS) from error

    async def _run(self, source: Source, header: Header, rows: int) -> None:
        with suppress(_HeldBackError):
            async with self.database.uow.begin() as session:
                staging = await Staging.of(session)
                async with aclosing(self._prepared(staging, source, header, rows)) as prepared:
                    async for outcome, lines in prepared:
                        if not self.rejects.count:
                            await staging.hold(lines)
                        await self._note_alone(outcome)
                if self.rejects.count:
                    raise _HeldBackError
                await self.load_lock.check()
                merged = await staging.merge_held()
                await staging.settle()
                await self.journal.note_merged(session, merged)
            self.counters.add(merged)


class DryRun(_WholeLoad):
    """A load that reports counts and rejects, but leaves hotels and deals unchanged."""

    async def run(self, source: Source, header: Header, rows: int) -> None:
        """Compare the file's rows with the stored deals, and roll the transaction back."""
        with suppress(_HeldBackError):
            async with self.database.uow.begin() as session:
                staging = await Staging.of(session)
                async with aclosing(self._prepared(staging, source, header, rows)) as prepared:
                    async for outcome, lines in prepared:
                        merged = await staging.compare(lines)
                        self.counters.add(merged)
                        await self._note_alone(replace(outcome, merged=merged))
                raise _HeldBackError
