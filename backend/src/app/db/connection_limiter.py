"""A limit on the connections in use, fair to those that wait."""

import asyncio
import time

from app.observability.metrics import PoolState

# Seconds: longer than a busy process keeps a connection for a quick statement, and hardly noticed
# when all connections are kept by slow ones.
PATIENCE = 0.05


class ConnectionLimiter:
    """Places for connections, taken by `async with` in the order of asking.

    The pools of SQLAlchemy and asyncpg let a newcomer overtake those that were woken and have not
    run yet: with 128 clients on 10 connections some wait for seconds, while others pass them by.

    There are `size` places. A wait of 50 ms adds one, up to `overflow` more, which goes when
    nothing waits any longer: each new connection is a new process of PostgreSQL, and with 16
    clients `POST /deals` is half as fast where every burst opens some and closes them again.
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
        """Take a place.

        Raises:
            TimeoutError: there was none in time.
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
        """Return the state of the pool behind the limiter, which has so many idle connections."""
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
