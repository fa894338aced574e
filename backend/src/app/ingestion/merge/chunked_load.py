"""The default load: each chunk is a separate transaction."""

from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError

from app.core.errors import ConflictError, NotFoundError
from app.ingestion.check.conflicts import KnownHotels
from app.ingestion.check.validated_chunk import ValidatedChunk
from app.ingestion.merge.journal import ChunkResult
from app.ingestion.merge.pipeline import OTHER_WRITERS, Load, is_race
from app.ingestion.merge.staging import Merged, Staging
from app.ingestion.merge.task_limiter import TaskLimiter
from app.ingestion.read.header import Header
from app.ingestion.read.source import Source

# The maximum number of concurrent merges. Merges take longer than checks, and PostgreSQL uses only
# one core for each connection.
CONCURRENT_MERGES = 2
_ATTEMPTS = 5


class _StaleHotelsError(Exception):
    """An error for hotels that another writer has changed since they were looked up."""


class ChunkLoad(Load):
    """A load of all valid rows. Each chunk is one transaction. Chunks may commit out of order."""

    async def run(self, source: Source, header: Header, rows: int) -> None:
        """Load the chunks that the journal has not recorded.

        Chunks without new hotels are merged concurrently, because they cannot conflict. A chunk
        with new hotels is merged alone, so that the later one of two conflicting rows is rejected.
        """
        number = 0
        async with (
            TaskLimiter(CONCURRENT_MERGES) as merges,
            aclosing(self.checked(source, header, rows)) as checked,
        ):
            async for chunk in checked:
                rejected = self.journal.rejected_lines(number)
                if rejected is None:
                    await self._load(chunk, number, merges)
                else:
                    self._retake(chunk, np.fromiter(rejected, np.int64, len(rejected)))
                number += 1

    async def _load(self, chunk: ValidatedChunk, number: int, merges: TaskLimiter) -> None:
        known = KnownHotels.stored(await self.load_lock.find_hotels(chunk.hotels))
        decision = await self.decide_in_turn(chunk, known)
        work = chunk.only(decision.accepted)
        rejects = chunk.rejects + decision.rejects
        outcome = ChunkResult(number, chunk.chunk, decision.duplicates, rejects)
        brings_hotels = not known.ids.keys() >= set(work.used_hotels())
        if brings_hotels:
            await merges.drain()
        await merges.start(self._store(work, known, outcome))
        if brings_hotels:
            await merges.drain()

    def _retake(self, chunk: ValidatedChunk, rejected: NDArray[np.int64]) -> None:
        """Add the accepted ids of a chunk to `seen`. An earlier attempt has stored this chunk."""
        lines = chunk.chunk.lines[chunk.rows]
        taken = np.fromiter(self.seen.find(chunk.ids), np.int64)
        free = np.flatnonzero(~np.isin(lines, rejected) & ~np.isin(chunk.ids, taken))
        _, first = np.unique(chunk.ids[free], return_index=True)
        self.seen.add(chunk.ids[free[first]], chunk.hashes[free[first]])

    async def _store(self, work: ValidatedChunk, known: KnownHotels, outcome: ChunkResult) -> None:
        """Merge accepted rows in one transaction. Retry after a conflict with another writer.

        Raises:
            ConflictError: all attempts conflicted with other writers.
        """
        for _ in range(_ATTEMPTS):
            try:
                merged = await self._merge_alone(work, known, outcome)
            except _StaleHotelsError:
                pass
            except (ConflictError, NotFoundError, DBAPIError) as error:
                if not is_race(error):
                    raise
            else:
                self.counters.add(merged)
                self.count(outcome)
                return
            known = KnownHotels.stored(await self.load_lock.find_hotels(work.hotels))
            work, outcome = await self.decide_again(work, known, outcome)
        raise ConflictError(OTHER_WRITERS)

    async def _merge_alone(
        self, work: ValidatedChunk, known: KnownHotels, outcome: ChunkResult
    ) -> Merged:
        """Merge rows and record their chunk in the journal, in one transaction."""
        async with self.database.uow.begin() as session:
            staging = await Staging.of(session)
            lines = await self.prepare(staging, work, known)
            if lines is None:
                raise _StaleHotelsError
            merged = await staging.merge(lines)
            await staging.settle()
            # Run this statement last. Its row lock blocks cancellation of the import until the
            # commit.
            await self.journal.note(session, replace(outcome, merged=merged))
            return merged
