"""The unit of work, the only code that commits. It retries after transaction conflicts."""

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
# The longest back-off after the first attempt, in seconds. The longest back-off grows with each
# attempt. The actual back-off is random, so that two transactions do not conflict again.
LONGEST_PAUSE = 0.05

T = TypeVar("T")


class UnitOfWork:
    """A factory of transactions for requests, jobs and commands.

    Other code only flushes the session, and the unit of work commits. Each transaction, including
    one opened inside another, counts towards the pool's connection limit from the start.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], limiter: ConnectionLimiter
    ) -> None:
        self._sessions = sessions
        self._limiter = limiter

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Yield a session. Commit at the end of the block, or roll back if the block raises.

        Raises:
            AppError: the database does not answer, or it refused a statement or the commit. The
                transaction is rolled back.
        """
        with database_errors():
            # Release the place before the session is closed, which takes turns of the event loop.
            # The session has given its connection back by then.
            async with self._sessions() as session, self._limiter:
                try:
                    yield session
                    await session.commit()
                except BaseException:
                    # Do not leave the rollback to `session.close`. If a rollback fails in it, as
                    # after an interrupted COPY, the pool loses the connection.
                    with suppress(DBAPIError):
                        await session.rollback()
                    raise

    async def run(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work(session)` in a transaction, commit it, and return its result.

        After a deadlock or a serialization failure, PostgreSQL aborts the transaction. `work` then
        runs again, up to `ATTEMPTS` times in total, so it must have no effect outside the
        transaction. Other conflicts are not retried.

        Raises:
            TransactionConflictError: every attempt conflicted with another transaction.
            AppError: `begin` or `work` failed.
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
