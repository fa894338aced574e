"""The merge of rows into the tables: COPY into a temporary table, then set-based SQL.

The statements run in the session's transaction, but directly on its asyncpg connection. Only
asyncpg offers COPY, and a merge may take longer than the time limit for a request's statements.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.limits import MAX_BIGINT
from app.ingestion.check.validated_chunk import Hotel
from app.ingestion.merge import statements as sql

# The driver's timeout. It equals `statement_timeout`, which `SETTINGS` sets on the server.
STATEMENT_SECONDS = 3600
_SLICE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of a merge: counts of inserted, updated and unchanged rows."""

    inserted: int
    updated: int
    unchanged: int

    def __add__(self, other: "Merged") -> "Merged":
        return Merged(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )


NOTHING_MERGED = Merged(0, 0, 0)


class Staging:
    """The statements of a load, in one transaction.

    The errors of asyncpg are converted to SQLAlchemy's errors, which the unit of work can handle.
    """

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    async def of(cls, session: AsyncSession) -> "Staging":
        """Return a `Staging` for the session's transaction, with the time limits of a load."""
        await session.execute(text(sql.SETTINGS))
        return await cls.on(await session.connection())

    @classmethod
    async def on(cls, connection: AsyncConnection) -> "Staging":
        """Return a `Staging` for a connection, with or without an open transaction."""
        raw = await connection.get_raw_connection()
        driver_connection: Any = raw.driver_connection
        return cls(driver_connection)

    async def find_hotels(self, hotels: Sequence[Hotel]) -> dict[Hotel, int]:
        """Return the ids of stored hotels that share a phone or identity with one of `hotels`."""
        phones, names, cities, countries = _parts(hotels)
        return _hotel_ids(await self._fetch(sql.FIND_HOTELS, phones, names, cities, countries))

    async def add_hotels(self, hotels: Sequence[Hotel]) -> dict[Hotel, int]:
        """Insert hotels that conflict with no stored hotel, and map the inserted ones to ids."""
        return _hotel_ids(await self._fetch(sql.ADD_HOTELS, *_parts(hotels))) if hotels else {}

    async def lock_hotels(self, ids: Collection[int]) -> dict[Hotel, int]:
        """Lock hotels until the transaction ends, and map their current values to their ids."""
        return _hotel_ids(await self._fetch(sql.LOCK_HOTELS, sorted(ids)))

    async def lock_categories(self, names: Collection[str]) -> dict[str, int]:
        """Create the categories in `names` that are missing.

        Lock all categories in `names`, and return their ids by name.
        """
        wanted = sorted(names)
        await self._execute(sql.ADD_CATEGORIES, wanted)
        return {row["name"]: row["id"] for row in await self._fetch(sql.LOCK_CATEGORIES, wanted)}

    async def merge(self, lines: bytes) -> Merged:
        """Copy rows to a temporary table and merge them into the deals.

        Unchanged deals are not written. `lines` is COPY text with the columns of `staged_deals`.
        """
        await self._execute(sql.CREATE)
        return await self._merge_staged(await self._copy("staged_deals", lines))

    async def compare(self, lines: bytes) -> Merged:
        """Return the counts that `merge` would return, without storing or locking any deal."""
        await self._execute(sql.CREATE)
        count = await self._copy("staged_deals", lines)
        await self._execute("ANALYZE staged_deals")
        stored = await self._value(sql.COUNT_STORED)
        changed = len(await self._value(sql.FIND_CHANGED))
        return Merged(count - stored, changed, stored - changed)

    async def hold(self, lines: bytes) -> None:
        """Copy rows to a temporary table, from which `merge_held` reads them."""
        await self._create_held()
        await self._copy("held_deals", lines)

    async def merge_held(self) -> Merged:
        """Merge all held rows in slices, in order of their ids.

        Locking deals in order of id avoids deadlocks. Slices limit the server's memory, because the
        server queues a foreign key check for each row of a statement.
        """
        await self._create_held()
        total = NOTHING_MERGED
        lowest = 0
        ends = await self._fetch(sql.HELD_SLICES, _SLICE_ROWS)
        for highest in [*(row["external_id"] for row in ends), MAX_BIGINT]:
            await self._execute(sql.CREATE)
            count = _affected(await self._execute(sql.STAGE_HELD, lowest, highest))
            total += await self._merge_staged(count)
            lowest = highest
        return total

    async def settle(self) -> None:
        """Run the deferred triggers now, because the commit has a shorter time limit."""
        await self._execute("SET CONSTRAINTS ALL IMMEDIATE")

    async def _create_held(self) -> None:
        await self._execute(sql.CREATE)
        await self._execute(sql.CREATE_HELD)

    async def _merge_staged(self, count: int) -> Merged:
        if not await self._value(sql.ANY_STORED):
            return Merged(await self._value(sql.INSERT_ALL), 0, 0)
        updated = await self._update_changed()
        inserted = await self._value(sql.INSERT_ABSENT)
        return Merged(inserted, updated, count - inserted - updated)

    async def analyze(self) -> None:
        """Update the planner's statistics for the tables that a load writes."""
        with driver_errors():
            await self._connection.execute(sql.ANALYZE, timeout=STATEMENT_SECONDS)

    async def _update_changed(self) -> int:
        await self._execute("ANALYZE staged_deals")
        changed = await self._value(sql.FIND_CHANGED)
        if not changed:
            return 0
        for statement in (sql.LOCK_CHANGED, sql.UNLINK_CHANGED, sql.LINK_CHANGED):
            await self._execute(statement, changed)
        return _affected(await self._execute(sql.UPDATE_CHANGED, changed))

    async def _copy(self, table: str, lines: bytes) -> int:
        with driver_errors():
            return _affected(
                # An empty field means NULL, because no column contains empty text.
                await self._connection.copy_to_table(
                    table, source=BytesIO(lines), null="", timeout=STATEMENT_SECONDS
                )
            )

    async def _execute(self, statement: str, *arguments: object) -> str:
        with driver_errors():
            return await self._connection.execute(statement, *arguments, timeout=STATEMENT_SECONDS)

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        with driver_errors():
            return await self._connection.fetch(statement, *arguments, timeout=STATEMENT_SECONDS)

    async def _value(self, statement: str, *arguments: object) -> Any:
        with driver_errors():
            return await self._connection.fetchval(statement, *arguments, timeout=STATEMENT_SECONDS)


@contextmanager
def driver_errors() -> Iterator[None]:
    """Convert asyncpg's errors to SQLAlchemy's."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise DBAPIError(None, None, error, hide_parameters=True) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise InterfaceError(None, None, error, hide_parameters=True) from error


def _affected(status: str) -> int:
    """Return the row count in a command status, such as 42 in `INSERT 0 42`."""
    return int(status.rpartition(" ")[2])


def _parts(hotels: Sequence[Hotel]) -> tuple[list[str], ...]:
    return (
        [hotel.phone for hotel in hotels],
        [hotel.name for hotel in hotels],
        [hotel.city for hotel in hotels],
        [hotel.country for hotel in hotels],
    )


def _hotel_ids(rows: Sequence[asyncpg.Record]) -> dict[Hotel, int]:
    return {
        Hotel(row["phone"], row["name"], row["city"], row["country"]): row["id"] for row in rows
    }
