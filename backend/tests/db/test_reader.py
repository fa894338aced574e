"""Reads that bypass the session: bound values, and the state of the connection afterwards."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from sqlalchemy import Text, bindparam, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from tests.support.database_faults import wait_for_rows

from app.core.config import Settings
from app.core.errors import InvalidInputError, ServiceUnavailableError
from app.db.session import Database
from app.observability.sql_statistics import StatementStatistics, statement_statistics

pytestmark = pytest.mark.integration


async def test_reader_parameters_are_bound_by_name(database: Database) -> None:
    numbers = bindparam("words", type_=ARRAY(Text))
    statement = select(
        literal(7),
        cast(bindparam("word"), Text),
        func.cardinality(numbers),
        cast(bindparam("word"), Text),
    )

    rows = await database.reader.rows(statement, {"words": ["a", "b"], "word": "it's"})
    again = await database.reader.row(statement, {"words": [], "word": "%"})

    assert [tuple(row) for row in rows] == [(7, "it's", 2, "it's")]
    assert again is not None
    assert tuple(again) == (7, "%", 0, "%")


async def test_reader_missing_parameter_raises_key_error(database: Database) -> None:
    with pytest.raises(KeyError, match="word"):
        await database.reader.rows(select(cast(bindparam("word"), Text)))


async def test_reader_no_row_returns_none(database: Database) -> None:
    assert await database.reader.row(text("SELECT 1 WHERE false")) is None


async def test_reader_refuses_writes(database: Database) -> None:
    with pytest.raises(ServiceUnavailableError):
        await database.reader.rows(text("CREATE TABLE t ()"))


async def test_reader_invalid_value_raises_invalid_input(database: Database) -> None:
    """The server refuses some values. The driver refuses others, because it cannot encode them."""
    for value in (text("SELECT CAST('x' AS int)"), select(cast(bindparam("n"), Text))):
        with pytest.raises(InvalidInputError):
            await database.reader.rows(value, {"n": 1} if "n" in str(value) else {})


async def test_reader_statements_are_counted_on_success_and_failure(database: Database) -> None:
    token = statement_statistics.set(statistics := StatementStatistics())
    try:
        await database.reader.rows(select(1))
        with pytest.raises(InvalidInputError):
            await database.reader.rows(text("SELECT 1 / 0"))
    finally:
        statement_statistics.reset(token)

    assert statistics.statements == 2
    assert statistics.seconds > 0


async def test_statement_of_lost_connection_ends_at_server(database: Database) -> None:
    """PostgreSQL looks for the client, because a cancel request can be lost."""
    interval = text("SELECT current_setting('client_connection_check_interval')")

    read = await database.reader.row(interval)
    async with database.uow.begin() as session:
        written = (await session.execute(interval)).one()

    assert read is not None
    assert (tuple(read), tuple(written)) == (("1s",), ("1s",))


SLEEP = "SELECT pg_sleep(600)"
RUNNING_SLEEPS = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    f" AND query = '{SLEEP}' AND state = 'active'"
)


async def sleep_in_read(database: Database) -> None:
    await database.reader.rows(text(SLEEP))


async def sleep_in_task_group(database: Database) -> None:
    """Read in an anyio task group, as event streams do. It cancels repeatedly."""
    async with anyio.create_task_group() as group:
        group.start_soon(sleep_in_read, database)


async def sleep_in_transaction(database: Database) -> None:
    async with database.uow.begin() as session:
        await session.execute(text(SLEEP))


@pytest.mark.parametrize("work", [sleep_in_read, sleep_in_task_group, sleep_in_transaction])
async def test_cancelled_statement_ends_at_server_and_frees_pool(
    database: Database, settings: Settings, work: Callable[[Database], Coroutine[Any, Any, None]]
) -> None:
    """The connection of a cancelled statement is closed, because its result may still arrive."""
    waiting = asyncio.create_task(work(database))
    await wait_for_rows(database, RUNNING_SLEEPS)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await wait_for_rows(database, f"SELECT 1 WHERE NOT EXISTS ({RUNNING_SLEEPS})")
    assert {pool.in_use for pool in database.pools().values()} == {0}
    for _ in range(settings.db_pool_size + 1):
        assert await database.reader.row(select(literal(7))) is not None
