"""What a load notes of each chunk, in the transaction of the chunk's own rows."""

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
    """What has become of the rows of a chunk.

    `number` counts the file's chunks from 0, so it means the same in every attempt with the same
    file and the same chunk size.
    """

    number: int
    chunk: Chunk
    duplicates: int
    rejects: list[Reject]
    merged: Merged = NOTHING_MERGED

    @property
    def warnings(self) -> dict[str, int]:
        """Numbers of odd rows, by code; without zeros."""
        found = {SURPLUS_EMPTY_FIELDS: self.chunk.rows_with_surplus}
        return {code: rows for code, rows in found.items() if rows}


class Journal(Protocol):
    """Remembers chunks, so that a load that was cut off goes on instead of beginning again."""

    @property
    def name(self) -> str:
        """By which the server's list of connections knows the load."""

    async def begin(self, header: Header) -> None:
        """Get to know the file's columns, before anything of it is loaded."""

    def rejected_lines(self, number: int) -> Collection[int] | None:
        """The lines of the rejects of a chunk that an earlier attempt stored; None if none did."""

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Remember a chunk, if the transaction of `session` commits.

        Raises:
            LoadStoppedError: the load is not to go on.
        """

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Remember what became of the good rows of all chunks: the load has come to its end.

        Raises:
            LoadStoppedError: the load is not to go on.
        """


class NoJournal:
    """For a load that its user watches, and begins again where it was cut off."""

    name = "load"

    async def begin(self, header: Header) -> None:
        """Nothing depends on it."""

    def rejected_lines(self, number: int) -> None:
        """Every chunk is new."""

    async def note(self, session: AsyncSession, outcome: ChunkResult) -> None:
        """Nothing is remembered."""

    async def note_merged(self, session: AsyncSession, merged: Merged) -> None:
        """Nothing is remembered."""
