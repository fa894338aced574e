import asyncio

from app.core.errors import ServiceUnavailableError
from app.db.migrations import head_revision
from app.db.session import Database
from app.repositories.health import HealthRepository
from app.schemas.health import HealthResponse
from app.services.support.single_flight import SingleFlight


class HealthService:
    """Whether the service can do its work; one a process.

    A database that has not answered after `patience` seconds counts as down.
    """

    def __init__(self, database: Database, patience: float) -> None:
        primary = HealthRepository(database.primary_reader)
        replica = HealthRepository(database.reader)
        self._revisions = SingleFlight(primary.revisions, patience)
        self._pings = [SingleFlight(replica.ping, patience)]
        if database.replicated:
            self._pings.append(SingleFlight(primary.ping, patience))
        self._head: str | None = None

    async def check(self) -> HealthResponse:
        """`ok`, once the database has answered, and its replica if there is one.

        Raises:
            ServiceUnavailableError: it did not answer, or not in time.
        """
        await asyncio.gather(*(ping.answer() for ping in self._pings))
        return {"status": "ok"}

    async def ready(self) -> HealthResponse:
        """`ok`, once the database has answered and its schema is the one of this code.

        Raises:
            ServiceUnavailableError: it is another one, or nobody answered in time.
        """
        found = await self._revisions.answer()
        if self._head is None:
            # Reads the files of the history, once.
            self._head = await asyncio.to_thread(head_revision)
        if found != [self._head]:
            raise ServiceUnavailableError(
                f"The database's schema is at {', '.join(found) or 'nothing'}, "
                f"this code is for {self._head}"
            )
        return {"status": "ok"}
