"""The journal of a load, which records each chunk in the transaction of the chunk's rows."""

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

    `number` counts the file's chunks from 0. It identifies the same chunk in every attempt with the
    same file and the same chunk size.
    """

    number: int
    chunk: Chunk
    duplicates: int
    rejects: list[Reject]
    merged: Merged = NOTHING_MERGED

    @property
    def warnings(self) -> dict[str, int]:
        """Return the numbers of anomalous rows by code, without zeros."""
        found = {SURPLUS_EMPTY_FIELDS: self.chunk.rows_with_surplus}
        return {code: rows for code, rows in found.items() if rows}


class Journal(Protocol):
    """The record of a load's chunks, by which an interrupted load continues where it stopped."""

    @property
    def name(self) -> str:
        """Return the name of the load for the `application_name` of its connection."""

    async def begin(self, header: Header) -> None:
        """Record the file's columns before the first row is loaded."""

    def rejected_lines(self, number: int) -> Collection[int] | None:
        """Return the rejected lines of a chunk that an earlier attempt stored, or None."""

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Record a chunk in the transaction of `session`.

        Raises:
            LoadStoppedError: the load must stop.
        """

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Record the totals of all chunks and the end of the load in the transaction of `session`.

        Raises:
            LoadStoppedError: the load must stop.
        """


class NoJournal:
    """A journal that records nothing, for loads from the command line, which do not continue."""

    name = "load"

    async def begin(self, header: Header) -> None:
        """Record nothing."""

    def rejected_lines(self, number: int) -> None:
        """Return None, because no chunk was stored before."""

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Record nothing."""

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Record nothing."""
