from app.db.session import Database
from app.repositories.backlog import BacklogRepository
from app.schemas.backlog import Backlog
from app.services.asking import SharedQuestion

# A scrape has seconds; who has no answer by then is told that the database is down.
DEADLINE_SECONDS = 1.0


class BacklogService:
    """What background work there is; one a process."""

    def __init__(self, database: Database) -> None:
        backlog = BacklogRepository(database.primary_reader)
        self._question = SharedQuestion(backlog.now, DEADLINE_SECONDS)

    async def now(self) -> Backlog:
        """As it is at this moment.

        Raises:
            ServiceUnavailableError: the database does not answer, or not in time.
        """
        return await self._question.answer()
