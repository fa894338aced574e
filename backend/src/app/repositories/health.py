from sqlalchemy import Select, Text, column, select, table

from app.db.reader import Reader

_PING = select(1)
# Alembic's own.
_REVISIONS: Select[str] = select(column("version_num", Text)).select_from(table("alembic_version"))


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

    async def revisions(self) -> list[str]:
        """The revisions the schema is at: one, unless somebody is in the middle of something.

        Raises:
            ServiceUnavailableError: there was no answer, or there is no schema.
        """
        return [str(revision) for (revision,) in await self._reader.rows(_REVISIONS)]
