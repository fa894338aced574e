"""Asking what may hang."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.core.errors import AppError, ServiceUnavailableError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """A question to the database that is answered soon or not at all.

    A database that hangs answers nobody, and a question to it cannot be taken back in time: it is
    left to end by itself, and whoever asks meanwhile waits for that one.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asking: asyncio.Task[T | AppError] | None = None

    async def answer(self) -> T:
        """What was found.

        Raises:
            ServiceUnavailableError: nothing, or not in time.
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
        """The error is returned: nobody may be there any more to take one that is raised."""
        try:
            return await self._ask()
        except AppError as error:
            return error
