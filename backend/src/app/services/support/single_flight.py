"""Single flight: concurrent callers share one running query, and each waits a limited time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.core.errors import AppError, ServiceUnavailableError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """A database query that concurrent callers share.

    Each caller waits for at most `seconds`. A query of a database that hangs cannot be cancelled
    quickly. The query therefore continues, and later callers join it.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asking: asyncio.Task[T | AppError] | None = None

    async def answer(self) -> T:
        """Return the result of the running query, or start a query if none is running.

        Raises:
            ServiceUnavailableError: the query fails or does not end in time.
        """
        asking = self._asking
        if asking is None or asking.done():
            asking = self._asking = asyncio.create_task(self._answer())
        done, _ = await asyncio.wait({asking}, timeout=self._seconds)
        if not done:
            raise ServiceUnavailableError
        found = asking.result()
        if isinstance(found, AppError):
            raise type(found)(found.message)
        return found

    async def _answer(self) -> T | AppError:
        """Run the query. Return an error instead of raising it.

        asyncio would log an unretrieved error if the query raised after all callers had timed out.
        """
        try:
            return await self._ask()
        except AppError as error:
            return error
