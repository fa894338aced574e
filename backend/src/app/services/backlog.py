from datetime import timedelta

from app.db.unit_of_work import UnitOfWork
from app.repositories.jobs import MISSED_HEARTBEATS, BacklogRepository
from app.schemas.backlog import Backlog
from app.services.support.single_flight import SingleFlight


class BacklogService:
    """A service that measures the backlog of background work for metrics. Each process has one.

    Queries fail after `patience` seconds, because a metrics scrape has a time limit.
    """

    def __init__(self, uow: UnitOfWork, heartbeat: float, patience: float) -> None:
        silence = timedelta(seconds=heartbeat * MISSED_HEARTBEATS)
        self._question = SingleFlight(
            lambda: uow.run(lambda session: BacklogRepository(session).now(silence)), patience
        )

    async def now(self) -> Backlog:
        """Return the current backlog.

        Raises:
            ServiceUnavailableError: the query fails or exceeds its time limit.
        """
        return await self._question.answer()
