from sqlalchemy import select

from app.db.session import ReadSession

_PING = select(1)


class HealthRepository:
    """Whether the database answers."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def ping(self) -> None:
        """One round trip.

        Raises:
            ServiceUnavailableError: (when the session's block ends) there was no answer.
        """
        await self._session.execute(_PING)
