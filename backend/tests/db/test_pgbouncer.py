"""Through PgBouncer in transaction mode: what is promised of each connection holds all the same."""

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

_SETTINGS = text(
    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
    " current_setting('jit'), current_setting('timezone'), current_setting('application_name'),"
    " current_setting('transaction_read_only')"
)


@pytest.fixture
async def pooled(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> AsyncIterator[Database]:
    """Pools of more connections than PgBouncer has."""
    timeouts = {"db_statement_timeout": 50.0, "db_read_timeout": 40.0, "db_lock_timeout": 25.0}
    database = Database(pgbouncer.urls(clone_url), settings.model_copy(update=timeouts))
    yield database
    await database.dispose()


@pytest.fixture
async def hasty(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> AsyncIterator[Database]:
    """For statements that are ended; one that is answered may take longer on a busy machine."""
    timeouts = {"db_statement_timeout": 0.5, "db_read_timeout": 0.5, "db_lock_timeout": 0.25}
    database = Database(pgbouncer.urls(clone_url), settings.model_copy(update=timeouts))
    yield database
    await database.dispose()


async def test_settings_hold_in_reads_and_in_transactions(pooled: Database) -> None:
    common = ("25s", "off", "UTC", "hotel-deals")

    read = await pooled.reader.row(_SETTINGS)
    from_primary = await pooled.primary_reader.row(_SETTINGS)
    async with pooled.transaction() as session:
        written = (await session.execute(_SETTINGS)).one()

    assert read is not None
    assert from_primary is not None
    assert tuple(read) == ("40s", *common, "on")
    assert tuple(from_primary) == ("50s", *common, "off")
    assert tuple(written) == ("50s", *common, "off")


async def test_nothing_is_left_on_a_connection_that_others_get(
    pooled: Database, pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> None:
    """Neither settings nor statements, however many clients have had it."""
    await asyncio.gather(*(pooled.reader.rows(select(literal(n))) for n in range(20)))
    async with pooled.transaction() as session:
        await session.execute(select(literal(1)))
    plain = {"db_statement_timeout": 77.0, "db_lock_timeout": 33.0}
    other = Database(pgbouncer.urls(clone_url), settings.model_copy(update=plain))
    try:
        found = await other.primary_reader.row(_SETTINGS)
        statements = await other.reader.rows(text("SELECT name FROM pg_prepared_statements"))
    finally:
        await other.dispose()

    assert found is not None
    assert tuple(found)[:2] == ("77s", "33s")
    assert tuple(found)[-1] == "off"
    assert statements == []


async def test_a_reader_cannot_write(pooled: Database) -> None:
    with pytest.raises(ServiceUnavailableError):
        await pooled.reader.rows(text("CREATE TABLE t ()"))


async def test_a_statement_is_ended_in_time(hasty: Database) -> None:
    with pytest.raises(ServiceUnavailableError):
        await hasty.reader.rows(text("SELECT pg_sleep(5)"))
    with pytest.raises(ServiceUnavailableError):
        async with hasty.transaction() as session:
            await session.execute(text("SELECT pg_sleep(5)"))


async def test_a_lock_is_not_waited_for_too_long(pooled: Database, hasty: Database) -> None:
    lock = text("LOCK TABLE hotels IN EXCLUSIVE MODE")
    async with pooled.transaction() as first:
        await first.execute(lock)
        with pytest.raises(ConflictError):
            async with hasty.transaction() as second:
                await second.execute(lock)


async def test_many_clients_take_turns_and_get_their_own_answers(pooled: Database) -> None:
    """Statements of all shapes at once, each with values of its own."""

    async def read(number: int) -> bool:
        words = ", ".join(f"CAST(:word AS text) || '{n}'" for n in range(number % 5 + 1))
        row = await pooled.reader.row(text(f"SELECT {words}, {number}"), {"word": f"w{number}"})
        return row is not None and (row[0], row[-1]) == (f"w{number}0", number)

    async def write(number: int) -> bool:
        async with pooled.transaction() as session:
            rows = select(cast(bindparam("word"), Text), literal(number))
            first = (await session.execute(rows, {"word": f"w{number}"})).one()
            again = (await session.execute(rows, {"word": f"v{number}"})).one()
            return [*first, *again] == [f"w{number}", number, f"v{number}", number]

    assert all(await asyncio.gather(*(each(n) for n in range(100) for each in (read, write))))
    rows = await pooled.reader.rows(
        text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database()")
    )
    assert len(rows) <= SHARED


async def test_a_failed_read_leaves_the_connection_in_order(pooled: Database) -> None:
    for _ in range(10):
        with pytest.raises(InvalidInputError):
            await pooled.reader.rows(text("SELECT 1 / 0"))
        assert await pooled.reader.row(select(literal(7))) is not None
    assert pooled.pools()["read"].in_use == 0


async def test_a_read_that_is_given_up_ends_at_the_server(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings, database: Database
) -> None:
    pooled = Database(pgbouncer.urls(clone_url), settings)
    sleeps = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600), 5'"
    try:
        waiting = asyncio.create_task(pooled.reader.rows(text("SELECT pg_sleep(600), 5")))
        await wait_for_rows(database, sleeps)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await wait_for_rows(database, f"SELECT 1 WHERE NOT EXISTS ({sleeps} AND state = 'active')")
        assert await pooled.reader.row(select(literal(7))) is not None
    finally:
        await pooled.dispose()


async def test_an_export_goes_past_it(pooled: Database) -> None:
    """An hour on one of a few connections would keep them from everybody else."""
    async with pooled.streams.snapshot() as snapshot:
        timeout = await snapshot.value(text("SHOW statement_timeout"))
        # What the connection began with; PgBouncer begins its own without.
        given = await snapshot.value(text("SELECT reset_val FROM pg_settings WHERE name = 'jit'"))

    assert (timeout, given) == ("1h", "off")


async def test_an_export_from_a_replica_goes_through_it(
    pgbouncer: PgBouncer, clone_url: URL, settings: Settings
) -> None:
    """There is no other address of a replica."""
    urls = pgbouncer.urls(clone_url)
    urls = replace(urls, replica=f"{urls.replica}?ssl=disable")
    database = Database(urls, settings)
    received = bytearray()

    async def write(content: bytes) -> None:
        received.extend(content)

    try:
        async with database.streams.snapshot() as snapshot:
            timeout = await snapshot.value(text("SHOW statement_timeout"))
            read_only = await snapshot.value(text("SHOW transaction_read_only"))
            await snapshot.copy(text("SELECT generate_series(1, 9999)"), {}, Lines(), write)
    finally:
        await database.dispose()

    assert urls.exports == urls.replica
    assert (timeout, read_only) == ("1h", "on")
    assert received.count(b"\n") == 9999


def test_workers_and_commands_go_past_it() -> None:
    pooled = DatabaseUrls("pooler", "pooler", "server", pooled=True)
    both = DatabaseUrls("pooler", "replica's pooler", "server", pooled=True)

    assert pooled.past_pooler() == both.past_pooler() == DatabaseUrls("server", "server")
    assert pooled.exports == "server"
    assert both.exports == "replica's pooler"
    assert DatabaseUrls("primary", "replica").past_pooler() == DatabaseUrls("primary", "replica")
