"""A limit on the connections in use, with a first-in, first-out queue."""

import asyncio
import time

from app.observability.metrics import PoolState

# Seconds that a task waits before the limit rises. Quick statements free a connection sooner, even
# in a busy process. If slow statements hold all connections, this short wait is hardly noticeable.
PATIENCE = 0.05


class ConnectionLimiter:
    """A semaphore that limits connections. `async with` acquires it in first-in, first-out order.

    In the pools of SQLAlchemy and asyncpg, a new task can overtake tasks that were woken but have
    not run yet. With 128 clients on 10 connections, some tasks waited for seconds.

    The limit starts at `size`. Each wait of 50 ms raises the limit by one, up to `size + overflow`.
    The limit falls again when no task waits. It rises slowly because opening a connection is slow:
    with 16 clients, `POST /deals` is half as fast if every burst opens and closes connections.
    """

    def __init__(self, size: int, overflow: int, timeout: float) -> None:
        self.most = size + overflow
        self._places = asyncio.Semaphore(size)
        self._overflow = overflow
        self._added = 0
        self._timeout = timeout
        self._in_use = 0
        self._waiting = 0
        self._waits = 0
        self._wait_seconds = 0.0

    async def __aenter__(self) -> None:
        """Wait until a connection may be used.

        Raises:
            TimeoutError: no connection became free in time.
        """
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()
        self._in_use += 1

    async def __aexit__(self, *_: object) -> None:
        self._in_use -= 1
        if self._added and not self._waiting:
            self._added -= 1
        else:
            self._places.release()

    def state(self, idle: int) -> PoolState:
        """Return the state of the limited pool, which has `idle` idle connections."""
        return PoolState(self._in_use, idle, self._waiting, self._waits, self._wait_seconds)

    async def _wait(self) -> None:
        started = time.perf_counter()
        self._waiting += 1
        growth = asyncio.get_running_loop().call_later(PATIENCE, self._add_place)
        try:
            async with asyncio.timeout(self._timeout):
                await self._places.acquire()
        finally:
            growth.cancel()
            self._waiting -= 1
            self._waits += 1
            self._wait_seconds += time.perf_counter() - started

    def _add_place(self) -> None:
        if self._added < self._overflow:
            self._added += 1
            self._places.release()
