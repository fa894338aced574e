from app.db.session import Database
from app.repositories.health import HealthRepository
from app.schemas.health import Health
from app.services.asking import SharedQuestion

# How long a database may take to answer before it counts as down.
DEADLINE_SECONDS = 1.0


class HealthService:
    """Whether the service can do its work; one a process."""

    def __init__(self, database: Database) -> None:
        health = HealthRepository(database.reader)
        self._ping = SharedQuestion(health.ping, DEADLINE_SECONDS)

    async def check(self) -> Health:
        """`ok`, once the database has answered.

        Raises:
            ServiceUnavailableError: it did not answer, or not within `DEADLINE_SECONDS`.
        """
        await self._ping.answer()
        return {"status": "ok"}
