"""Blocks on their way from who has them to who writes them, in another task."""

import asyncio
from collections.abc import AsyncIterator
from enum import Enum


class AbandonedError(Exception):
    """What the reading side gets when the writing side gave up; nobody else sees it."""


class _Mark(Enum):
    END = "end"
    ABANDONED = "abandoned"


class BlockChannel:
    """A channel for one block at a time, so that memory holds no more than that.

    The storage library undoes a write when its source raises, but not when its task is cancelled.
    This is therefore its source: whatever becomes of the writer of the feed, also by cancellation,
    the library gets an exception that it can act upon.
    """

    def __init__(self) -> None:
        self._blocks: asyncio.Queue[bytes | _Mark] = asyncio.Queue(maxsize=1)
        self._closed = False

    async def send(self, block: bytes) -> bool:
        """Wait for room and hand over `block`; False when nobody reads any more."""
        if not self._closed:
            await self._blocks.put(block)
        return not self._closed

    async def end(self) -> None:
        """That was all."""
        if not self._closed:
            await self._blocks.put(_Mark.END)

    def abandon(self) -> None:
        """There will be no more, and what there was is not to be kept."""
        self._drop()
        self._blocks.put_nowait(_Mark.ABANDONED)

    def close(self) -> None:
        """The reader is gone: nobody may wait for it."""
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
        assert isinstance(block, bytes)  # noqa: S101 - the marks are dealt with
        return block
