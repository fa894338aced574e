"""A channel that passes blocks of a file from a producer task to a consumer task."""

import asyncio
from collections.abc import AsyncIterator
from enum import Enum


class AbandonedError(Exception):
    """An error that tells the consumer to discard the file, because the producer has failed."""


class _Mark(Enum):
    END = "end"
    ABANDONED = "abandoned"


class BlockChannel:
    """A channel that holds at most one block, to limit memory.

    The storage library rolls back a write if the write's source raises, but not if the writing task
    is cancelled. This channel is the source, and raises if the producer fails or is cancelled.
    """

    def __init__(self) -> None:
        self._blocks: asyncio.Queue[bytes | _Mark] = asyncio.Queue(maxsize=1)
        self._closed = False

    async def send(self, block: bytes) -> bool:
        """Send `block` when the channel is empty. Return False if the channel is closed."""
        if not self._closed:
            await self._blocks.put(block)
        return not self._closed

    async def end(self) -> None:
        """Signal the end of the file to the consumer."""
        if not self._closed:
            await self._blocks.put(_Mark.END)

    def abandon(self) -> None:
        """Make the consumer's next read raise `AbandonedError`, to discard the file."""
        self._drop()
        self._blocks.put_nowait(_Mark.ABANDONED)

    def close(self) -> None:
        """Close the channel after the consumer has ended, so that the producer stops waiting."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        while not self._blocks.empty():
            self._blocks.get_nowait()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        block = await self._blocks.get()
        if block is _Mark.ABANDONED:
            raise AbandonedError
        if block is _Mark.END:
            raise StopAsyncIteration
        assert isinstance(block, bytes)  # noqa: S101 - both marks are handled above
        return block
