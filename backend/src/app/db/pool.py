"""A pool of connections that serves in turn, and grows only when waiting has not helped."""

import asyncio
import time
from collections import deque
from typing import cast

from anyio import CancelScope
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import Empty, Full, QueueCommon

from app.observability.metrics import PoolState

# Seconds: longer than a busy process keeps a connection for a quick statement, and hardly noticed
# when all connections are kept by slow ones.
PATIENCE = 0.05


class _Turns(QueueCommon[ConnectionPoolEntry]):
    """Idle connections, the one used last on top; and whoever waits for one, first come first.

    SQLAlchemy's own queue wakes who has waited longest, but whoever asks before that one runs takes
    the connection, and the one that waited goes to the end of the line. Under load some requests
    then wait until they are refused, while others pass them by.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = True) -> None:  # noqa: FBT001, FBT002 - as the pool calls it
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._idle: list[ConnectionPoolEntry] = []
        self._waiting: deque[asyncio.Future[ConnectionPoolEntry]] = deque()
        # How often, and how long in all.
        self.waits = 0
        self.wait_seconds = 0.0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(not each.done() for each in self._waiting)

    def empty(self) -> bool:
        return not self._idle

    def full(self) -> bool:
        return len(self._idle) >= self.maxsize

    def qsize(self) -> int:
        return len(self._idle)

    def put(
        self,
        item: ConnectionPoolEntry,
        block: bool = True,  # noqa: FBT001, FBT002, ARG002 - the pool's interface; nothing to wait for
        timeout: float | None = None,  # noqa: ARG002 - the same
    ) -> None:
        self.put_nowait(item)

    def put_nowait(self, item: ConnectionPoolEntry) -> None:
        """Hand the connection to who has waited longest.

        Raises:
            Full: nobody waits, and the pool keeps enough.
        """
        if self._handed_over(item):
            return
        if self.full():
            raise Full
        self._idle.append(item)

    def _handed_over(self, item: ConnectionPoolEntry) -> bool:
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(item)
                return True
        return False

    def get(
        self,
        block: bool = True,  # noqa: FBT001, FBT002 - the pool's interface
        timeout: float | None = None,
    ) -> ConnectionPoolEntry:
        if self._idle or not block:
            return self.get_nowait()
        entry: ConnectionPoolEntry = await_only(self._next(timeout))
        return entry

    def get_nowait(self) -> ConnectionPoolEntry:
        if not self._idle:
            raise Empty
        return self._idle.pop()

    async def _next(self, seconds: float | None) -> ConnectionPoolEntry:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[ConnectionPoolEntry] = loop.create_future()
        self._waiting.append(turn)
        alarm = None if seconds is None else loop.call_later(seconds, _give_up, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # Cancelled between getting the connection and running: it is for the next, or one
                # idle connection too many for a while.
                entry = turn.result()
                if not self._handed_over(entry):
                    self._idle.append(entry)
            raise
        finally:
            self.waits += 1
            self.wait_seconds += time.perf_counter() - started
            if alarm is not None:
                alarm.cancel()


def _give_up(turn: "asyncio.Future[ConnectionPoolEntry]") -> None:
    if not turn.done():
        turn.set_exception(Empty())


def end(connection: PoolProxiedConnection) -> None:
    """Close a connection, and have the server end what runs there; call it inside a greenlet.

    Within SQLAlchemy's two seconds, with a cancel request: a statement that writes nothing yet does
    not notice that its connection is gone. A scope of anyio's, such as streams of events have,
    cancels again and again, and would end the waiting.
    """
    with CancelScope(shield=True):  # noqa: ASYNC100 - inside a greenlet; this does wait
        connection.invalidate()


class PatientPool(AsyncAdaptedQueuePool):
    """A pool that opens a connection beyond its size only when none has come back for a moment.

    SQLAlchemy's opens one at once, and closes it when it comes back to a pool that has enough. With
    more clients than connections nearly every request then pays for a new connection, which is a
    process of PostgreSQL: with 16 clients `POST /deals` was half as fast.
    """

    _queue_class = _Turns

    def state(self) -> PoolState:
        """What the pool is like now."""
        turns = cast("_Turns", self._pool)
        return PoolState(
            in_use=self.checkedout(),
            idle=self.checkedin(),
            waiting=turns.waiting,
            waits=turns.waits,
            wait_seconds=turns.wait_seconds,
        )

    def _do_get(self) -> ConnectionPoolEntry:
        if 0 <= self.overflow() < self._max_overflow:
            try:
                return self._pool.get(block=True, timeout=PATIENCE)
            except Empty:
                pass
        return super()._do_get()

    def _close_connection(
        self,
        connection: DBAPIConnection,
        *,
        terminate: bool = False,  # noqa: ARG002 - always: it says goodbye first all the same
    ) -> None:
        """Close, in two seconds at most, also what the server has closed already.

        SQLAlchemy's waits for a server that hangs, and logs a traceback when one has gone.
        """
        super()._close_connection(connection, terminate=True)
