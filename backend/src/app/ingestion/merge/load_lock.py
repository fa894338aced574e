"""A lock that allows one load at a time, and queries on the lock's connection."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.db.errors import database_errors
from app.db.session import Database
from app.ingestion.check.validated_chunk import Hotel
from app.ingestion.merge.staging import Staging

logger = logging.getLogger(__name__)

# The key of the advisory lock. The number is arbitrary, and no other lock of the service uses it.
LOAD_LOCK = 7_364_201_102
_REMEMBERED_NAMES = 10_000
_FOLD = "SELECT name, lower_case(name) FROM unnest(cast(:names AS text[])) AS name"
# Disable the time limits of requests: a load may run long, wait for locks and be idle.
_SERVER_SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
}


class LoadLock:
    """The advisory lock of a load. PostgreSQL frees it when the connection ends."""

    def __init__(self, connection: AsyncConnection, staging: Staging) -> None:
        self._connection = connection
        self._staging = staging
        self._in_turn = asyncio.Lock()
        self._folded: dict[str, str] = {}

    async def find_hotels(self, hotels: Collection[Hotel]) -> dict[Hotel, int]:
        """Return the ids of committed hotels that share a phone or identity with one of `hotels`.

        An error is raised if the connection, and therefore the lock, is lost.
        """
        async with self._in_turn:
            with database_errors():
                return await self._staging.find_hotels(list(hotels))

    async def check(self) -> None:
        """Raise an error if the connection, and therefore the lock, is lost."""
        await self.find_hotels([])

    async def fold_categories(self, names: Collection[str]) -> Mapping[str, str]:
        """Map each name to its lower-case form, computed by the CHECK constraint's SQL function."""
        unknown = [name for name in names if name not in self._folded]
        if unknown:
            if len(self._folded) + len(unknown) > _REMEMBERED_NAMES:
                self._folded = {}
                unknown = list(names)
            async with self._in_turn:
                with database_errors():
                    rows = await self._connection.execute(text(_FOLD), {"names": unknown})
            self._folded.update((row[0], row[1]) for row in rows)
        return {name: self._folded[name] for name in names}


def connection_name(name: str) -> str:
    """Return the `application_name` of a load's connection."""
    return f"hotel-deals {name}"


@asynccontextmanager
async def exclusive_load(database: Database, name: str) -> AsyncIterator[LoadLock]:
    """Wait until no other load is running in the database, and hold the lock in the `with` block.

    The connection is not pooled, so closing the connection frees the lock. The connection's
    `application_name` is `hotel-deals NAME`.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    engine = create_async_engine(
        database.write_engine.url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={
            "server_settings": {**_SERVER_SETTINGS, "application_name": connection_name(name)}
        },
    )
    async with AsyncExitStack() as stack:
        with database_errors():
            connection = await stack.enter_async_context(engine.connect())
            await _take_turn(connection)
            load_lock = LoadLock(connection, await Staging.on(connection))
        yield load_lock


async def _take_turn(connection: AsyncConnection) -> None:
    lock = {"lock": LOAD_LOCK}
    if not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), lock):
        logger.warning("waiting for another load in this database to end")
        await connection.execute(text("SELECT pg_advisory_lock(:lock)"), lock)
