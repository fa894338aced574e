"""The SQL of a load: staged rows become hotels, deals, categories and links, set-based.

All of it runs inside a transaction of `Database`, on its asyncpg connection: COPY is the driver's
own, and a merge may take longer than the seconds a request's statement has.
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

# What the driver waits for an answer; the server's own limit is the same.
STATEMENT_SECONDS = 3600
_SLICE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of staged rows."""

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
    """One transaction's connection, with the statements of a load.

    The errors are SQLAlchemy's, as of any other statement, so that `Database.transaction` can
    translate them.
    """

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    async def of(cls, session: AsyncSession) -> "Staging":
        """The staging of the session's transaction, with time for its statements."""
        await session.execute(text(sql.SETTINGS))
        return await cls.on(await session.connection())

    @classmethod
    async def on(cls, connection: AsyncConnection) -> "Staging":
        """The staging of whatever transaction the connection is in."""
        raw = await connection.get_raw_connection()
        driver_connection: Any = raw.driver_connection
        return cls(driver_connection)

    async def find_hotels(self, hotels: Sequence[Hotel]) -> dict[Hotel, int]:
        """Stored hotels with a phone or an identity of `hotels`, and their ids."""
        phones, names, cities, countries = _parts(hotels)
        return _hotel_ids(await self._fetch(sql.FIND_HOTELS, phones, names, cities, countries))

    async def add_hotels(self, hotels: Sequence[Hotel]) -> dict[Hotel, int]:
        """Insert hotels; those that somebody else has just made in part or whole are left out."""
        return _hotel_ids(await self._fetch(sql.ADD_HOTELS, *_parts(hotels))) if hotels else {}

    async def lock_hotels(self, ids: Collection[int]) -> dict[Hotel, int]:
        """Keep hotels as they are until the transaction ends, and say how they are."""
        return _hotel_ids(await self._fetch(sql.LOCK_HOTELS, sorted(ids)))

    async def lock_categories(self, names: Collection[str]) -> dict[str, int]:
        """The ids of categories, made when there are none, kept until the transaction ends."""
        wanted = sorted(names)
        await self._execute(sql.ADD_CATEGORIES, wanted)
        return {row["name"]: row["id"] for row in await self._fetch(sql.LOCK_CATEGORIES, wanted)}

    async def merge(self, lines: bytes) -> Merged:
        """Stage rows, as lines of COPY's text format in the columns of `CREATE`, and merge them.

        Rows that are stored already and do not differ are not touched.
        """
        await self._execute(sql.CREATE)
        return await self._merge_staged(await self._copy("staged_deals", lines))

    async def compare(self, lines: bytes) -> Merged:
        """What `merge` would do with rows; nothing is stored and no deal is locked."""
        await self._execute(sql.CREATE)
        count = await self._copy("staged_deals", lines)
        await self._execute("ANALYZE staged_deals")
        stored = await self._value(sql.COUNT_STORED)
        changed = len(await self._value(sql.FIND_CHANGED))
        return Merged(count - stored, changed, stored - changed)

    async def hold(self, lines: bytes) -> None:
        """Put rows, as of `merge`, aside until `merge_held`."""
        await self._create_held()
        await self._copy("held_deals", lines)

    async def merge_held(self) -> Merged:
        """Merge all held rows, in slices in order of their ids.

        So all deals of a transaction are locked in that order, and what the server keeps in memory
        per row of a statement (foreign keys to check) stays bounded.
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
        """Do now, with time for it, what is deferred to the commit."""
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
        """Tell the planner what the tables have become."""
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
                # No value is an empty text: an empty field is a null.
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
    """What asyncpg raises, as what SQLAlchemy raises."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise DBAPIError(None, None, error, hide_parameters=True) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise InterfaceError(None, None, error, hide_parameters=True) from error


def _affected(status: str) -> int:
    """The number of rows in a command's status, such as `INSERT 0 42`."""
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
