"""The unit of work: the only place that commits, with a retry after a transaction conflict."""

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
# The longest back-off in seconds, multiplied by the attempt's number. The actual back-off is
# random, so that two conflicting transactions do not conflict again.
LONGEST_PAUSE = 0.05

T = TypeVar("T")


class UnitOfWork:
    """Transactions on the primary, for requests, jobs and commands.

    A session flushes, and only the unit of work commits. A transaction counts against the pool's
    limit from its beginning, so a nested transaction counts as a second one.
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
            AppError: the database does not answer, or refused a statement or the commit. The
                transaction is rolled back.
        """
        with database_errors():
            async with self._limiter, self._sessions() as session:
                try:
                    yield session
                    await session.commit()
                except BaseException:
                    # Closing the session would roll back as well, and lose the connection if the
                    # rollback failed, as it does after an interrupted COPY.
                    with suppress(DBAPIError):
                        await session.rollback()
                    raise

    async def run(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work(session)` in a transaction, commit it, and return its result.

        PostgreSQL undoes a transaction that deadlocks or cannot be serialized, at a statement or at
        the commit. `work` then runs again, up to `ATTEMPTS` times in all, so the transaction must
        be its only effect. No other conflict is retried.

        Raises:
            TransactionConflictError: every attempt conflicted with another transaction.
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
