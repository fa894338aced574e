from datetime import timedelta

from app.db.unit_of_work import UnitOfWork
from app.repositories.jobs import MISSED_HEARTBEATS, BacklogRepository
from app.schemas.backlog import Backlog
from app.services.support.single_flight import SingleFlight


class BacklogService:
    """What background work there is; one a process.

    A scrape has seconds: without an answer after `patience` seconds the database is down.
    """

    def __init__(self, uow: UnitOfWork, heartbeat: float, patience: float) -> None:
        silence = timedelta(seconds=heartbeat * MISSED_HEARTBEATS)
        self._question = SingleFlight(
            lambda: uow.run(lambda session: BacklogRepository(session).now(silence)), patience
        )

    async def now(self) -> Backlog:
        """As it is at this moment.

        Raises:
            ServiceUnavailableError: the database does not answer, or not in time.
        """
        return await self._question.answer()
