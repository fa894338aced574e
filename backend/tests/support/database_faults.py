"""Database faults for tests: triggers that fail or block a statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from tests.support.stored_rows import execute, fetch_rows
from tests.support.waiting import wait_for

from app.db.session import Database

_GATE = 4_711


async def wait_for_rows(database: Database, statement: str) -> None:
    """Wait until the statement returns a row."""
    await wait_for(lambda: fetch_rows(database, statement), f"rows of {statement}")


@asynccontextmanager
async def failing(
    database: Database, table: str, when: str, *, on: str = "INSERT", sqlstate: str = "57P01"
) -> AsyncIterator[None]:
    """Fail writes of rows for which `when` is true, as if the server shut down."""
    await execute(
        database,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'secret of the server' USING ERRCODE = '{sqlstate}'; END $$",
        f"CREATE TRIGGER fail BEFORE {on} ON {table} "
        f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION fail()",
    )
    try:
        yield
    finally:
        await execute(database, f"DROP TRIGGER fail ON {table}", "DROP FUNCTION fail()")


class Gate:
    """A gate that stops writers of a table, with their transactions open, until it opens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = asyncio.Event()

    async def wait_until_blocked(self) -> None:
        """Wait until a writer waits at the gate."""
        waiting = (
            "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' "
            f"AND objid = {_GATE} AND NOT granted"
        )
        await wait_for_rows(self._database, waiting)

    def open(self) -> None:
        self._open.set()

    async def hold(self, held: asyncio.Event) -> None:
        async with self._database.uow.begin() as session:
            await session.execute(text(f"SELECT pg_advisory_xact_lock({_GATE})"))
            held.set()
            await self._open.wait()


@asynccontextmanager
async def gate(
    database: Database, table: str, when: str, *, on: str = "INSERT", moment: str = "AFTER"
) -> AsyncIterator[Gate]:
    """Install a gate for writers of rows for which `when` is true."""
    await execute(
        database,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_advisory_xact_lock_shared({_GATE}); RETURN NEW; END $$",
        f"CREATE TRIGGER wait {moment} {on} ON {table} "
        f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION wait()",
    )
    made, held = Gate(database), asyncio.Event()
    holding = asyncio.create_task(made.hold(held))
    await held.wait()
    try:
        yield made
    finally:
        made.open()
        await holding
        await execute(database, f"DROP TRIGGER wait ON {table}", "DROP FUNCTION wait()")
