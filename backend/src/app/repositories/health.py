from collections.abc import Sequence

from sqlalchemy import Select, Text, column, select, table
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.reader import Reader

_PING = select(1)
# Alembic stores the current revision in this table.
_REVISIONS: Select[str] = select(column("version_num", Text)).select_from(table("alembic_version"))


async def ping_reader(reader: Reader) -> None:
    """Check that the reader's database answers a query.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    await reader.rows(_PING)


class HealthRepository:
    """Health checks of the primary database in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def ping(self) -> None:
        """Check that the primary answers a query."""
        await self._session.execute(_PING)

    async def revisions(self) -> Sequence[str]:
        """Return the schema's Alembic revisions: exactly one, unless a migration is running.

        Raises:
            ProgrammingError: the database has no schema.
        """
        return (await self._session.scalars(_REVISIONS)).all()
