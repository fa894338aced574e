from collections.abc import Sequence

from sqlalchemy import Select, Text, column, select, table
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.reader import Reader

_PING = select(1)
# Alembic's own.
_REVISIONS: Select[str] = select(column("version_num", Text)).select_from(table("alembic_version"))


async def ping_reader(reader: Reader) -> None:
    """Ask the database of the reads for a round trip.

    Raises:
        ServiceUnavailableError: there was no answer.
    """
    await reader.rows(_PING)


class HealthRepository:
    """The primary's answers to one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def ping(self) -> None:
        """Ask for a round trip."""
        await self._session.execute(_PING)

    async def revisions(self) -> Sequence[str]:
        """Return the revisions that the schema is at: one, except during a migration.

        Raises:
            ProgrammingError: there is no schema.
        """
        return (await self._session.scalars(_REVISIONS)).all()
