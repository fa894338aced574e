"""Reads that bypass the session: what is bound, and what becomes of the connection."""

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


async def test_values_are_bound_by_name_and_constants_kept(database: Database) -> None:
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


async def test_a_forgotten_value_is_a_bug_and_not_a_null(database: Database) -> None:
    with pytest.raises(KeyError, match="word"):
        await database.reader.rows(select(cast(bindparam("word"), Text)))


async def test_no_row_is_none(database: Database) -> None:
    assert await database.reader.row(text("SELECT 1 WHERE false")) is None


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(ServiceUnavailableError):
        await database.reader.rows(text("CREATE TABLE t ()"))


async def test_what_cannot_be_stored_is_the_clients_error(database: Database) -> None:
    """Whether the server says so or the driver, which cannot even write the value."""
    for value in (text("SELECT CAST('x' AS int)"), select(cast(bindparam("n"), Text))):
        with pytest.raises(InvalidInputError):
            await database.reader.rows(value, {"n": 1} if "n" in str(value) else {})


async def test_statements_are_counted_whether_they_succeed_or_not(database: Database) -> None:
    token = statement_statistics.set(statistics := StatementStatistics())
    try:
        await database.reader.rows(select(1))
        with pytest.raises(InvalidInputError):
            await database.reader.rows(text("SELECT 1 / 0"))
    finally:
        statement_statistics.reset(token)

    assert statistics.statements == 2
    assert statistics.seconds > 0


SLEEP = "SELECT pg_sleep(600)"
SLEEPS = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    f" AND query = '{SLEEP}' AND state = 'active'"
)


async def read(database: Database) -> None:
    await database.reader.rows(text(SLEEP))


async def read_in_a_scope(database: Database) -> None:
    """Of anyio's, as streams of events do: it cancels again and again."""
    async with anyio.create_task_group() as group:
        group.start_soon(read, database)


async def write(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text(SLEEP))


@pytest.mark.parametrize("work", [read, read_in_a_scope, write])
async def test_what_is_given_up_ends_and_leaves_the_pool_in_order(
    database: Database, settings: Settings, work: Callable[[Database], Coroutine[Any, Any, None]]
) -> None:
    """At the server, too. Its connection may still get the answer, so it is not for the next."""
    waiting = asyncio.create_task(work(database))
    await wait_for_rows(database, SLEEPS)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await wait_for_rows(database, f"SELECT 1 WHERE NOT EXISTS ({SLEEPS})")
    assert {pool.in_use for pool in database.pools().values()} == {0}
    for _ in range(settings.db_pool_size + 1):
        assert await database.reader.row(select(literal(7))) is not None
