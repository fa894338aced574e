"""PgBouncer in transaction mode: every guarantee of a connection holds through it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import URL, Text, bindparam, cast, literal, select, text
from tests.support.database_faults import wait_for_rows
from tests.support.pgbouncer import SHARED, PgBouncer

from app.core.config import Settings
from app.core.errors import ConflictError, InvalidInputError, ServiceUnavailableError
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.db.streaming import Lines

pytestmark = pytest.mark.integration

_SESSION_SETTINGS = text(
    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
    " current_setting('jit'), current_setting('timezone'), current_setting('application_name'),"
    " current_setting('transaction_read_only')"
)


@pytest.fixture
async def pooled_database(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> AsyncIterator[Database]:
    """Open pools with more connections than PgBouncer has."""
    timeouts = {"db_statement_timeout": 50.0, "db_read_timeout": 40.0, "db_lock_timeout": 25.0}
    changed = settings.model_copy(update=timeouts)
    async with Database(pgbouncer.urls(clone_url), changed) as database:
        yield database


@pytest.fixture
async def database_with_short_timeouts(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> AsyncIterator[Database]:
    """Open pools whose time limits end a sleeping statement soon."""
    timeouts = {"db_statement_timeout": 0.5, "db_read_timeout": 0.5, "db_lock_timeout": 0.25}
    changed = settings.model_copy(update=timeouts)
    async with Database(pgbouncer.urls(clone_url), changed) as database:
        yield database


async def test_pgbouncer_settings_apply_to_reads_and_transactions(
    pooled_database: Database,
) -> None:
    common = ("25s", "off", "UTC", "hotel-deals")

    read = await pooled_database.reader.row(_SESSION_SETTINGS)
    async with pooled_database.uow.begin() as session:
        written = (await session.execute(_SESSION_SETTINGS)).one()

    assert read is not None
    assert tuple(read) == ("40s", *common, "on")
    assert tuple(written) == ("50s", *common, "off")


async def test_pgbouncer_shared_connection_carries_no_settings_or_statements(
    pooled_database: Database, pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> None:
    await asyncio.gather(*(pooled_database.reader.rows(select(literal(n))) for n in range(20)))
    async with pooled_database.uow.begin() as session:
        await session.execute(select(literal(1)))
    plain = {"db_statement_timeout": 77.0, "db_lock_timeout": 33.0}
    async with Database(pgbouncer.urls(clone_url), settings.model_copy(update=plain)) as other:
        async with other.uow.begin() as session:
            found = (await session.execute(_SESSION_SETTINGS)).one()
        statements = await other.reader.rows(text("SELECT name FROM pg_prepared_statements"))

    assert tuple(found)[:2] == ("77s", "33s")
    assert tuple(found)[-1] == "off"
    assert statements == []


async def test_pgbouncer_reader_refuses_writes(pooled_database: Database) -> None:
    with pytest.raises(ServiceUnavailableError):
        await pooled_database.reader.rows(text("CREATE TABLE t ()"))


async def test_pgbouncer_slow_statement_times_out(database_with_short_timeouts: Database) -> None:
    with pytest.raises(ServiceUnavailableError):
        await database_with_short_timeouts.reader.rows(text("SELECT pg_sleep(5)"))
    with pytest.raises(ServiceUnavailableError):
        async with database_with_short_timeouts.uow.begin() as session:
            await session.execute(text("SELECT pg_sleep(5)"))


async def test_pgbouncer_lock_wait_times_out(
    pooled_database: Database, database_with_short_timeouts: Database
) -> None:
    lock = text("LOCK TABLE hotels IN EXCLUSIVE MODE")
    async with pooled_database.uow.begin() as first:
        await first.execute(lock)
        with pytest.raises(ConflictError):
            async with database_with_short_timeouts.uow.begin() as second:
                await second.execute(lock)


async def test_pgbouncer_concurrent_clients_get_their_own_results(
    pooled_database: Database,
) -> None:
    """Run statements of all shapes at once, each with values of its own."""

    async def read(number: int) -> bool:
        words = ", ".join(f"CAST(:word AS text) || '{n}'" for n in range(number % 5 + 1))
        row = await pooled_database.reader.row(
            text(f"SELECT {words}, {number}"), {"word": f"w{number}"}
        )
        return row is not None and (row[0], row[-1]) == (f"w{number}0", number)

    async def write(number: int) -> bool:
        async with pooled_database.uow.begin() as session:
            rows = select(cast(bindparam("word"), Text), literal(number))
            first = (await session.execute(rows, {"word": f"w{number}"})).one()
            again = (await session.execute(rows, {"word": f"v{number}"})).one()
            return [*first, *again] == [f"w{number}", number, f"v{number}", number]

    assert all(await asyncio.gather(*(each(n) for n in range(100) for each in (read, write))))
    rows = await pooled_database.reader.rows(
        text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database()")
    )
    assert len(rows) <= SHARED


async def test_pgbouncer_failed_read_leaves_connection_usable(pooled_database: Database) -> None:
    for _ in range(10):
        with pytest.raises(InvalidInputError):
            await pooled_database.reader.rows(text("SELECT 1 / 0"))
        assert await pooled_database.reader.row(select(literal(7))) is not None
    assert pooled_database.pools()["read"].in_use == 0


async def test_pgbouncer_cancelled_read_ends_at_server(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings, database: Database
) -> None:
    sleeps = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600), 5'"
    async with Database(pgbouncer.urls(clone_url), settings) as pooled_database:
        waiting = asyncio.create_task(pooled_database.reader.rows(text("SELECT pg_sleep(600), 5")))
        await wait_for_rows(database, sleeps)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await wait_for_rows(database, f"SELECT 1 WHERE NOT EXISTS ({sleeps} AND state = 'active')")
        assert await pooled_database.reader.row(select(literal(7))) is not None


async def test_pgbouncer_is_bypassed_by_exports(pooled_database: Database) -> None:
    """A long export would keep one of PgBouncer's few connections from other requests."""
    async with pooled_database.streams.snapshot() as snapshot:
        timeout = await snapshot.value(text("SHOW statement_timeout"))
        # Startup parameters of the connection. PgBouncer opens its own connections without them.
        given = await snapshot.value(text("SELECT reset_val FROM pg_settings WHERE name = 'jit'"))

    assert (timeout, given) == ("1h", "off")


async def test_pgbouncer_is_used_by_exports_of_replica(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> None:
    """A replica has no direct address in the settings."""
    urls = pgbouncer.urls(clone_url)
    urls = replace(urls, replica=f"{urls.replica}?ssl=disable")
    received = bytearray()

    async def write(content: bytes) -> None:
        received.extend(content)

    async with Database(urls, settings) as database, database.streams.snapshot() as snapshot:
        timeout = await snapshot.value(text("SHOW statement_timeout"))
        read_only = await snapshot.value(text("SHOW transaction_read_only"))
        await snapshot.copy(text("SELECT generate_series(1, 9999)"), {}, Lines(), write)

    assert urls.exports == urls.replica
    assert (timeout, read_only) == ("1h", "on")
    assert received.count(b"\n") == 9999


def test_pgbouncer_is_bypassed_by_workers_and_commands() -> None:
    primary = DatabaseUrls("pooler", "pooler", "server", pooled=True)
    replicated = DatabaseUrls("pooler", "replica's pooler", "server", pooled=True)

    assert primary.past_pooler() == replicated.past_pooler() == DatabaseUrls("server", "server")
    assert primary.exports == "server"
    assert replicated.exports == "replica's pooler"
    assert DatabaseUrls("primary", "replica").past_pooler() == DatabaseUrls("primary", "replica")
