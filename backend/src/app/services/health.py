import asyncio

from app.core.errors import ServiceUnavailableError
from app.db.migrations import head_revision
from app.db.session import Database
from app.repositories.health import HealthRepository, ping_reader
from app.schemas.health import HealthResponse
from app.services.support.single_flight import SingleFlight


class HealthService:
    """A service that checks the database for the health endpoints. Each process has one.

    A database that does not answer within `patience` seconds counts as unavailable.
    """

    def __init__(self, database: Database, patience: float) -> None:
        uow = database.uow
        self._revisions = SingleFlight(
            lambda: uow.run(lambda session: HealthRepository(session).revisions()), patience
        )
        self._pings = [SingleFlight(lambda: ping_reader(database.reader), patience)]
        if database.replicated:
            ping = SingleFlight(
                lambda: uow.run(lambda session: HealthRepository(session).ping()), patience
            )
            self._pings.append(ping)
        self._head: str | None = None

    async def check(self) -> HealthResponse:
        """Check that the primary and any replica answer, and return `ok`.

        Raises:
            ServiceUnavailableError: the primary or the replica does not answer in time.
        """
        await asyncio.gather(*(ping.answer() for ping in self._pings))
        return {"status": "ok"}

    async def ready(self) -> HealthResponse:
        """Check that the database answers and its schema matches the code, and return `ok`.

        Raises:
            ServiceUnavailableError: the schema does not match, or the database does not answer.
        """
        found = await self._revisions.answer()
        if self._head is None:
            self._head = await asyncio.to_thread(head_revision)
        if list(found) != [self._head]:
            raise ServiceUnavailableError(
                f"The database schema is at revision {', '.join(found) or 'none'}, but this "
                f"release needs {self._head}; run `deals migrate` or update the release"
            )
        return {"status": "ok"}
