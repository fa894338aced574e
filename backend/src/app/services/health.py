from app.repositories.health import HealthRepository
from app.schemas.health import Health


class HealthService:
    """Whether the service can do its work."""

    def __init__(self, database: HealthRepository) -> None:
        self._database = database

    async def check(self) -> Health:
        """`ok`, once the database has answered."""
        await self._database.ping()
        return {"status": "ok"}
