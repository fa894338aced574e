"""Transactions: the only commit of the service, and what is retried after a lost race."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.errors import TransactionConflictError
from app.db.connection_limiter import ConnectionLimiter
from app.db.errors import database_errors

ATTEMPTS = 3
# In seconds, times the number of the attempt. The pause is random, so that two transactions that
# met once do not meet again.
LONGEST_PAUSE = 0.05

T = TypeVar("T")


class UnitOfWork:
    """Transactions on the primary, for requests, jobs and commands alike.

    A session flushes. Only its unit of work commits. A transaction has its place in the pool from
    the beginning, so one inside another takes a second place.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], limiter: ConnectionLimiter
    ) -> None:
        self._sessions = sessions
        self._limiter = limiter

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Commit the work of the block when it ends, or roll all of it back when it raises.

        Raises:
            AppError: the database refused the work, at a statement or at the commit, or does not
                answer. Nothing of the work is stored.
        """
        with database_errors():
            async with self._limiter, self._sessions() as session:
                try:
                    yield session
                    await session.commit()
                except BaseException:
                    # Closing the session would roll back as well, and lose the connection when
                    # that fails: a driver that was cut off in the middle of a COPY refuses.
                    with suppress(DBAPIError):
                        await session.rollback()
                    raise

    async def run(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Return the result of `work(session)`, whose transaction is committed.

        PostgreSQL undoes a transaction that deadlocks or cannot be serialized, at a statement or at
        the commit. `work` then runs again, up to `ATTEMPTS` times in all, so the transaction must
        be its only effect. No other conflict is retried.

        Raises:
            TransactionConflictError: every attempt lost its race.
            AppError: as `begin`, or raised by `work`.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._run_once(work)
            except TransactionConflictError:
                await asyncio.sleep(random.uniform(0, LONGEST_PAUSE * attempt))  # noqa: S311
        return await self._run_once(work)

    async def _run_once(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async with self.begin() as session:
            return await work(session)
