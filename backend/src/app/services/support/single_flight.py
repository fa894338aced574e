"""Single flight: callers with the same question share one query, with a time limit."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.core.errors import AppError, ServiceUnavailableError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """A query to the database that callers share and wait for only a limited time.

    If the database hangs, a query cannot be cancelled quickly. The query therefore continues after
    the time limit, and later callers join it instead of starting another one.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asking: asyncio.Task[T | AppError] | None = None

    async def answer(self) -> T:
        """Return the result of the query under way, or of a new one.

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

        If all callers have timed out, asyncio would log a raised error as never retrieved.
        """
        try:
            return await self._ask()
        except AppError as error:
            return error
