"""The journal of a load. Each chunk is recorded in the transaction that stores its rows."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from app.ingestion.check.load_warnings import SURPLUS_EMPTY_FIELDS
from app.ingestion.check.rejects import Reject
from app.ingestion.merge.staging import NOTHING_MERGED, Merged
from app.ingestion.read.chunks import Chunk
from app.ingestion.read.header import Header


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The result of a chunk.

    Chunks are numbered from 0. With the same file and chunk size, a number means the same chunk in
    every attempt.
    """

    number: int
    chunk: Chunk
    duplicates: int
    rejects: list[Reject]
    merged: Merged = NOTHING_MERGED

    @property
    def warnings(self) -> dict[str, int]:
        """Map the code of each warning to its row count. Codes without rows are left out."""
        found = {SURPLUS_EMPTY_FIELDS: self.chunk.rows_with_surplus}
        return {code: rows for code, rows in found.items() if rows}


class Journal(Protocol):
    """A record of stored chunks, so that an interrupted load can continue where it stopped."""

    @property
    def name(self) -> str:
        """Return the load's name, which is part of its connection's `application_name`."""

    async def begin(self, header: Header) -> None:
        """Record the file's column names before the first row is loaded."""

    def rejected_lines(self, number: int) -> Collection[int] | None:
        """Return the line numbers of a chunk's rejects, or None if the chunk is not stored."""

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Record a chunk in the transaction of `session`.

        Raises:
            LoadStoppedError: the load must stop.
        """

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Record the totals and the success of a strict load in the transaction of `session`.

        Raises:
            LoadStoppedError: the load must stop.
        """


class NoJournal:
    """A journal that records nothing, for command-line loads, which cannot be continued."""

    name = "load"

    async def begin(self, header: Header) -> None:
        """Record nothing."""

    def rejected_lines(self, number: int) -> None:
        """Return None, because no earlier attempt exists."""

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Record nothing."""

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Record nothing."""
