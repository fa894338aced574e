from sqlalchemy import select

from app.db.reading import Reader

_PING = select(1)


class HealthRepository:
    """Whether the database answers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def ping(self) -> None:
        """One round trip.

        Raises:
            ServiceUnavailableError: there was no answer.
        """
        await self._reader.rows(_PING)
