"""The steps that all kinds of loads share, from reading a chunk to preparing its rows for COPY."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import DBAPIError

from app.core.errors import AppError
from app.db.session import Database
from app.ingestion.check.conflicts import Decision, KnownHotels, decide
from app.ingestion.check.rejects_file import RejectsFile
from app.ingestion.check.seen_ids import SeenIds
from app.ingestion.check.validated_chunk import ValidatedChunk
from app.ingestion.check.validation import check
from app.ingestion.merge.copy_lines import copy_lines
from app.ingestion.merge.journal import ChunkResult, Journal
from app.ingestion.merge.load_lock import LoadLock
from app.ingestion.merge.staging import Merged, Staging
from app.ingestion.read.chunks import chunks
from app.ingestion.read.header import Header
from app.ingestion.read.source import Source

OTHER_WRITERS = "Other writers keep changing the hotels that are being loaded"


def is_race(error: AppError | DBAPIError) -> bool:
    """Return whether an error is a conflict with another writer.

    Conflicts are deadlocks, lock timeouts, and keys that another writer has inserted or deleted.
    """
    if isinstance(error, AppError):
        return True
    return str(getattr(error.orig, "sqlstate", "")) in {"23503", "23505"}


@dataclass(slots=True)
class LoadCounters:
    """Counters of a load. Only committed chunks are counted."""

    rows: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    bytes_read: int = 0
    warnings: Counter[str] = field(default_factory=Counter)

    def add(self, merged: Merged) -> None:
        """Add the result of a merge."""
        self.inserted += merged.inserted
        self.updated += merged.updated
        self.unchanged += merged.unchanged


@dataclass(slots=True)
class Load:
    """A load of one file. Subclasses define its transactions."""

    database: Database
    load_lock: LoadLock
    seen: SeenIds
    rejects: RejectsFile
    journal: Journal
    progress: Callable[[LoadCounters], None]
    counters: LoadCounters = field(default_factory=LoadCounters)

    async def run(self, source: Source, header: Header, rows: int) -> None:
        """Load the file in chunks of about `rows` rows."""
        raise NotImplementedError

    async def refresh_statistics(self) -> None:
        """Update the planner's statistics if the load has inserted or updated deals."""
        if self.counters.inserted or self.counters.updated:
            async with self.database.uow.begin() as session:
                await (await Staging.of(session)).analyze()

    async def checked(
        self, source: Source, header: Header, rows: int
    ) -> AsyncGenerator[ValidatedChunk]:
        """Yield checked chunks. While a chunk is merged, a thread reads and checks the next one."""
        loop = asyncio.get_running_loop()
        hash_key = secrets.token_hex(8)
        records = chunks(source, header, rows)

        def fold(names: Collection[str]) -> Mapping[str, str]:
            work = self.load_lock.fold_categories(names)
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        def following() -> ValidatedChunk | None:
            chunk = next(records, None)
            return check(chunk, header, fold, hash_key) if chunk else None

        ahead = asyncio.create_task(asyncio.to_thread(following))
        try:
            while chunk := await asyncio.shield(ahead):
                ahead = asyncio.create_task(asyncio.to_thread(following))
                yield chunk
        finally:
            # Wait for the thread, because the caller will close the file that the thread reads.
            # Ignore the thread's errors: they were raised above, or result from an earlier error.
            await asyncio.gather(ahead, return_exceptions=True)

    async def decide_in_turn(self, checked: ValidatedChunk, known: KnownHotels) -> Decision:
        """Decide which rows of the next chunk to store, claim their ids, and write the rejects."""

        def work() -> Decision:
            decision = decide(checked, known, self.seen.find(checked.ids))
            chosen = decision.accepted
            self.seen.add(checked.ids[chosen], checked.hashes[chosen])
            self.rejects.write(checked.rejects + decision.rejects)
            return decision

        return await asyncio.to_thread(work)

    async def decide_again(
        self, work: ValidatedChunk, known: KnownHotels, outcome: ChunkResult
    ) -> tuple[ValidatedChunk, ChunkResult]:
        """Decide again on a chunk's accepted rows after hotels have changed. Ids stay claimed."""
        decision = await asyncio.to_thread(decide, work, known, {})
        self.rejects.write(decision.rejects)
        rejects = outcome.rejects + decision.rejects
        return work.only(decision.accepted), replace(outcome, rejects=rejects)

    async def prepare(
        self, staging: Staging, work: ValidatedChunk, known: KnownHotels
    ) -> bytes | None:
        """Create missing hotels and categories of `work`, lock all, and return the lines for COPY.

        Return None if another writer has changed the hotels since `known` was read.
        """
        used = work.used_hotels()
        hotel_ids = await staging.lock_hotels([known.ids[h] for h in used if h in known.ids])
        hotel_ids |= await staging.add_hotels(sorted(h for h in used if h not in known.ids))
        if not hotel_ids.keys() >= set(used):
            return None
        category_ids = await staging.lock_categories(work.used_categories())
        return await asyncio.to_thread(copy_lines, work, hotel_ids, category_ids)

    def count(self, outcome: ChunkResult) -> None:
        """Add a committed chunk to the counters, and report the progress."""
        self.counters.rows += outcome.chunk.rows
        self.counters.duplicates += outcome.duplicates
        self.counters.warnings.update(outcome.warnings)
        # Concurrent merges may end in a different order than the chunks were read.
        self.counters.bytes_read = max(self.counters.bytes_read, outcome.chunk.bytes_read)
        self.progress(self.counters)
