"""A load: read → check → decide → stage → merge, chunk by chunk, each chunk one transaction."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from app.db.session import Database
from app.errors import AppError, ConflictError, NotFoundError
from app.imports.checked import Checked
from app.imports.checks import check
from app.imports.copying import copy_lines
from app.imports.decisions import Decision, KnownHotels, decide
from app.imports.guard import Guard
from app.imports.lanes import Lanes
from app.imports.reader import Chunk, Header, chunks
from app.imports.rejects import RejectsFile
from app.imports.seen import SeenIds
from app.imports.source import Source
from app.imports.staging import Merged, Staging

# Merges side by side: PostgreSQL is the slower half of a load and runs one connection on one core.
LANES = 2
_ATTEMPTS = 5


class _StaleHotelsError(Exception):
    """Somebody else has made, renamed or deleted a hotel since it was looked up."""


class _HeldBackError(Exception):
    """A strict load has met a bad row: leave the transaction without storing anything."""


@dataclass(slots=True)
class Tally:
    """What a load has done so far; only what is committed counts."""

    rows: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    bytes_read: int = 0

    def add(self, merged: Merged) -> None:
        """Count rows that are stored."""
        self.inserted += merged.inserted
        self.updated += merged.updated
        self.unchanged += merged.unchanged


@dataclass(slots=True)
class Load:
    """The state of one load of one file."""

    database: Database
    guard: Guard
    seen: SeenIds
    rejects: RejectsFile
    progress: Callable[[Tally], None]
    tally: Tally = field(default_factory=Tally)

    async def run(self, source: Source, header: Header, rows: int) -> None:
        """Load good rows, each chunk all or not at all; chunks may commit out of order.

        Chunks that need no new hotel run side by side: nothing in one can decide over another.
        One that brings hotels runs alone, so that "the later row is rejected" holds.
        """
        async with Lanes(LANES) as lanes, aclosing(self._checked(source, header, rows)) as checked:
            async for chunk in checked:
                known = KnownHotels.stored(await self.guard.find_hotels(chunk.hotels))
                decision = await self._decide(chunk, known)
                work = chunk.only(decision.accepted)
                brings_hotels = not known.ids.keys() >= set(work.used_hotels())
                if brings_hotels:
                    await lanes.drain()
                await lanes.start(self._store(work, known, decision.duplicates))
                if brings_hotels:
                    await lanes.drain()

    async def run_strictly(self, source: Source, header: Header, rows: int) -> None:
        """All in one transaction: rows are held until the last one is known to be right.

        Once one is not, deals need not be held any more, but new hotels are still inserted, for
        later rows may offend them; the transaction is rolled back.
        """
        with suppress(_HeldBackError):
            async with self.database.transaction() as session:
                staging = await Staging.of(session)
                async with aclosing(self._checked(source, header, rows)) as checked:
                    async for chunk in checked:
                        await self._hold(staging, chunk)
                if self.rejects.count:
                    raise _HeldBackError
                await self.guard.check()
                merged = await staging.merge_held()
                await staging.settle()
            self.tally.add(merged)

    async def _hold(self, staging: Staging, chunk: Checked) -> None:
        known = KnownHotels.stored(await staging.find_hotels(chunk.hotels))
        decision = await self._decide(chunk, known)
        work = chunk.only(decision.accepted)
        while (lines := await self._prepare(staging, work, known)) is None:
            known = KnownHotels.stored(await staging.find_hotels(work.hotels))
            work = await self._decide_again(work, known)
        if not self.rejects.count:
            await staging.hold(lines)
        self._count(chunk.chunk, decision.duplicates)

    async def refresh_statistics(self) -> None:
        """For the queries that come next; only when the load has changed anything."""
        if self.tally.inserted or self.tally.updated:
            async with self.database.transaction() as session:
                await (await Staging.of(session)).analyze()

    async def _checked(
        self, source: Source, header: Header, rows: int
    ) -> AsyncGenerator[Checked, None]:
        """Checked chunks; the next one is made in a thread while the last one is merged."""
        loop = asyncio.get_running_loop()
        hash_key = secrets.token_hex(8)
        records = chunks(source, header, rows)

        def fold(names: Collection[str]) -> Mapping[str, str]:
            work = self.guard.fold_categories(names)
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        def following() -> Checked | None:
            chunk = next(records, None)
            return check(chunk, header, fold, hash_key) if chunk else None

        ahead = asyncio.create_task(asyncio.to_thread(following))
        try:
            while chunk := await asyncio.shield(ahead):
                ahead = asyncio.create_task(asyncio.to_thread(following))
                yield chunk
        finally:
            # The thread reads from a file that is about to be closed; its error has been raised, or
            # another one has come first.
            await asyncio.gather(ahead, return_exceptions=True)

    async def _decide(self, checked: Checked, known: KnownHotels) -> Decision:
        """Take ids and note rejects: in the file's order, whatever order merges end in."""

        def work() -> Decision:
            decision = decide(checked, known, self.seen.find(checked.ids))
            chosen = decision.accepted
            self.seen.add(checked.ids[chosen], checked.hashes[chosen])
            self.rejects.write(checked.rejects + decision.rejects)
            return decision

        return await asyncio.to_thread(work)

    async def _decide_again(self, work: Checked, known: KnownHotels) -> Checked:
        """What is left of accepted rows now that the hotels are others; their ids stay taken."""
        decision = await asyncio.to_thread(decide, work, known, {})
        self.rejects.write(decision.rejects)
        return work.only(decision.accepted)

    async def _store(self, work: Checked, known: KnownHotels, duplicates: int) -> None:
        """Merge accepted rows in a transaction of their own, again when another writer was first.

        Raises:
            ConflictError: another writer was first too often.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                merged = await self._merge_alone(work, known)
            except _StaleHotelsError:
                pass
            except (ConflictError, NotFoundError, DBAPIError) as error:
                if attempt == _ATTEMPTS or not _is_race(error):
                    raise
            else:
                self.tally.add(merged)
                self._count(work.chunk, duplicates)
                return
            known = KnownHotels.stored(await self.guard.find_hotels(work.hotels))
            work = await self._decide_again(work, known)
        raise ConflictError("Other writers keep changing the hotels that are being loaded")

    async def _merge_alone(self, work: Checked, known: KnownHotels) -> Merged:
        """Store rows in a transaction of their own."""
        async with self.database.transaction() as session:
            staging = await Staging.of(session)
            lines = await self._prepare(staging, work, known)
            if lines is None:
                raise _StaleHotelsError
            merged = await staging.merge(lines)
            await staging.settle()
            return merged

    async def _prepare(self, staging: Staging, work: Checked, known: KnownHotels) -> bytes | None:
        """Rows as `staging` takes them, their hotels and categories made and held.

        None when the hotels are not, or not any more, as `known`.
        """
        used = work.used_hotels()
        hotel_ids = await staging.hold_hotels([known.ids[h] for h in used if h in known.ids])
        hotel_ids |= await staging.add_hotels(sorted(h for h in used if h not in known.ids))
        if not hotel_ids.keys() >= set(used):
            return None
        category_ids = await staging.hold_categories(work.used_categories())
        return await asyncio.to_thread(copy_lines, work, hotel_ids, category_ids)

    def _count(self, chunk: Chunk, duplicates: int) -> None:
        self.tally.rows += chunk.rows
        self.tally.duplicates += duplicates
        # With lanes, the last chunk that was merged need not be the last that was read.
        self.tally.bytes_read = max(self.tally.bytes_read, chunk.bytes_read)
        self.progress(self.tally)


def _is_race(error: AppError | DBAPIError) -> bool:
    """A deadlock, a lock not had in time, or a key another writer has just taken or dropped."""
    if isinstance(error, AppError):
        return True
    return str(getattr(error.orig, "sqlstate", "")) in {"23503", "23505"}
