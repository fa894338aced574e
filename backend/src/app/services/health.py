import asyncio

from app.db.session import Database
from app.errors import AppError, ServiceUnavailableError
from app.repositories.health import HealthRepository
from app.schemas.health import Health

# How long a database may take to answer before it counts as down.
DEADLINE_SECONDS = 1.0


class HealthService:
    """Whether the service can do its work; one a process."""

    def __init__(self, database: Database) -> None:
        self._health = HealthRepository(database.reader)
        self._asking: asyncio.Task[AppError | None] | None = None

    async def check(self) -> Health:
        """`ok`, once the database has answered.

        A database that hangs answers nobody, and a question to it cannot be taken back in time:
        it is left to end by itself, and whoever asks meanwhile waits for that one question.

        Raises:
            ServiceUnavailableError: it did not answer, or not within `DEADLINE_SECONDS`.
        """
        asking = self._asking
        if asking is None or asking.done():
            asking = self._asking = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait({asking}, timeout=DEADLINE_SECONDS)
        if not done:
            raise ServiceUnavailableError
        error = asking.result()
        if error is not None:
            raise type(error)(error.message)
        return {"status": "ok"}

    async def _ask(self) -> AppError | None:
        """The error is returned: nobody may be there any more to take one that is raised."""
        try:
            await self._health.ping()
        except AppError as error:
            return error
        return None
