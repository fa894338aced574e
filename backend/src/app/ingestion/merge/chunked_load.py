"""The usual load: each chunk is a transaction of its own."""

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

# Merges side by side: PostgreSQL is the slower half of a load and runs one connection on one core.
CONCURRENT_MERGES = 2
_ATTEMPTS = 5


class _StaleHotelsError(Exception):
    """Somebody else has made, renamed or deleted a hotel since it was looked up."""


class ChunkLoad(Load):
    """Loads good rows, each chunk all or not at all; chunks may commit out of order."""

    async def run(self, source: Source, header: Header, rows: int) -> None:
        """Load what the journal does not say is loaded.

        Chunks that need no new hotel run side by side: nothing in one can decide over another.
        One that brings hotels runs alone, so that "the later row is rejected" holds.
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
        """Take the ids that the chunk took when it was stored."""
        lines = chunk.chunk.lines[chunk.rows]
        taken = np.fromiter(self.seen.find(chunk.ids), np.int64)
        free = np.flatnonzero(~np.isin(lines, rejected) & ~np.isin(chunk.ids, taken))
        _, first = np.unique(chunk.ids[free], return_index=True)
        self.seen.add(chunk.ids[free[first]], chunk.hashes[free[first]])

    async def _store(self, work: ValidatedChunk, known: KnownHotels, outcome: ChunkResult) -> None:
        """Merge accepted rows in a transaction of their own, again when another writer was first.

        Raises:
            ConflictError: another writer was first too often.
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
        """Store rows in a transaction of their own."""
        async with self.database.uow.begin() as session:
            staging = await Staging.of(session)
            lines = await self.prepare(staging, work, known)
            if lines is None:
                raise _StaleHotelsError
            merged = await staging.merge(lines)
            await staging.settle()
            # Last, because it is what a cancellation waits for.
            await self.journal.note(session, replace(outcome, merged=merged))
            return merged
