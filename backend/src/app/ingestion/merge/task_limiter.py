"""A limiter of concurrently running coroutines."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self


class TaskLimiter:
    """A group of at most `width` running tasks.

    The end of the `with` block waits for all tasks. An error in the block cancels all tasks.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                await self.drain()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait for a free slot and start `work`. If a task fails meanwhile, raise its error."""
        while len(self._running) >= self._width:
            try:
                await self._one()
            except BaseException:
                work.close()
                raise
        self._running.add(asyncio.create_task(work))

    async def drain(self) -> None:
        """Wait until all tasks have ended. If one has failed, raise its error."""
        while self._running:
            await self._one()

    async def _one(self) -> None:
        done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
