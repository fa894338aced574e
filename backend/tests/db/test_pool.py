"""When the pool opens a connection beyond its size."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.support.databases import dsn, pools

from app.core.config import Settings
from app.db.pool import PatientPool

pytestmark = pytest.mark.integration


@pytest.fixture
async def engine(server_url: URL, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A pool of one connection, and one more when it must be."""
    pool_settings = settings.model_copy(
        update={"db_pool_size": 1, "db_max_overflow": 1, "db_pool_timeout": 0.1}
    )
    async with pools(server_url, pool_settings) as database:
        yield database.write_engine


async def backend_pid(connection: AsyncConnection) -> int:
    """The process of PostgreSQL at the other end."""
    pid: int = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    return pid


def pool_of(engine: AsyncEngine) -> PatientPool:
    pool = engine.pool
    assert isinstance(pool, PatientPool)
    return pool


async def test_pool_returned_connection_is_reused_before_overflow(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine, 50 turns are soon enough.
    monkeypatch.setattr("app.db.pool.PATIENCE", 60)

    async def use_connection() -> int:
        async with engine.connect() as connection:
            return await backend_pid(connection)

    first = await use_connection()
    backends = await asyncio.gather(*(use_connection() for _ in range(50)))

    assert set(backends) == {first}
    assert pool_of(engine).overflow() == 0


async def test_pool_exhausted_opens_and_closes_overflow(
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as first:
        async with engine.connect() as second:
            assert await backend_pid(first) != await backend_pid(second)
            assert pool_of(engine).overflow() == 1
        assert pool_of(engine).overflow() == 1
        # It waits in the pool for the next; the pool is full again only with both.
    assert pool_of(engine).overflow() == 0
    assert pool_of(engine).checkedin() == 1


async def test_pool_exhausted_overflow_times_out(engine: AsyncEngine) -> None:
    async with engine.connect(), engine.connect():
        with pytest.raises(PoolTimeoutError, match="limit of size 1 overflow 1"):
            await engine.connect()


async def test_pool_waiters_are_served_in_order(server_url: URL, settings: Settings) -> None:
    """Nobody who comes later passes by, however soon it asks."""
    pool_settings = settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 0})
    served: list[int] = []
    async with pools(server_url, pool_settings) as database:

        async def use(number: int) -> None:
            async with database.write_engine.connect():
                served.append(number)
            # Comes back at once, while the others have been told but have not run yet.
            if number < 3:
                await use(number + 10)

        async with database.write_engine.connect():
            tasks = [asyncio.create_task(use(number)) for number in range(6)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    assert served == [0, 1, 2, 3, 4, 5, 10, 11, 12]


async def test_pool_cancelled_waiter_returns_connection(
    server_url: URL, settings: Settings
) -> None:
    """Cancelled when the connection is its already and it has not run yet."""
    pool_settings = settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 0})
    async with pools(server_url, pool_settings) as database:
        engine = database.write_engine
        held = await engine.connect()
        waiting = asyncio.create_task(engine.connect().start())
        await asyncio.sleep(0)
        await held.close()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert pool_of(engine).checkedout() == 0
        async with engine.connect() as connection:
            assert await backend_pid(connection)


async def test_pool_dispose_of_terminated_connection_logs_nothing(
    engine: AsyncEngine, server_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine.connect() as connection:
        pid = await backend_pid(connection)
    # Not awaited: the event loop has not yet heard of it when the pool closes.
    with psycopg.connect(dsn(server_url)) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    await engine.dispose()

    assert not caplog.records
