import asyncio

from app.core.errors import ServiceUnavailableError
from app.db.migrations import head_revision
from app.db.session import Database
from app.repositories.health import HealthRepository, ping_reader
from app.schemas.health import HealthResponse
from app.services.support.single_flight import SingleFlight


class HealthService:
    """Whether the service can do its work; one a process.

    A database that has not answered after `patience` seconds counts as down.
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
        if list(found) != [self._head]:
            raise ServiceUnavailableError(
                f"The database's schema is at {', '.join(found) or 'nothing'}, "
                f"this code is for {self._head}"
            )
        return {"status": "ok"}
