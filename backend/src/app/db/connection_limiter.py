"""A limit on the connections in use that serves its waiters in order."""

import asyncio
import time

from app.observability.metrics import PoolState

# In seconds. A busy process keeps a connection for less than this for a quick statement, and the
# wait is hardly noticeable when slow statements keep all connections.
PATIENCE = 0.05


class ConnectionLimiter:
    """A semaphore for connections, acquired by `async with` in first-in, first-out order.

    The pools of SQLAlchemy and asyncpg let a new task overtake tasks that were woken and have not
    run yet. With 128 clients on 10 connections, some tasks then wait for seconds.

    The limit starts at `size`. A wait of 50 ms raises it by one, up to `overflow` more, and it
    falls again once no task waits. Each new connection is a new process of PostgreSQL: with 16
    clients, `POST /deals` is half as fast if every burst opens connections and closes them again.
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
        """Acquire the right to use a connection.

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
