"""Pools behind the limiter: order of service, growth, and returned connections."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import URL, text
from tests.support.databases import dsn, pools
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.core.errors import ServiceUnavailableError
from app.db.connection_limiter import ConnectionLimiter
from app.db.session import Database

BACKEND_PID = text("SELECT pg_backend_pid()")


async def read(database: Database) -> int:
    row = await database.reader.row(BACKEND_PID)
    assert row is not None
    return int(row[0])


async def write(database: Database) -> int:
    async with database.uow.begin() as session:
        return int((await session.execute(BACKEND_PID)).scalar_one())


USES = pytest.mark.parametrize("use", [read, write])
Use = Callable[[Database], Awaitable[int]]


@pytest.fixture
def small(server_url: URL, settings: Settings) -> Database:
    """Open pools of one connection, and one overflow connection."""
    changes = {"db_pool_size": 1, "db_max_overflow": 1}
    return pools(server_url, settings.model_copy(update=changes))


@pytest.mark.integration
@USES
async def test_pool_returned_connection_is_reused_before_overflow(
    small: Database, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fifty turns of the event loop are enough on a slow machine.
    monkeypatch.setattr("app.db.connection_limiter.PATIENCE", TIMEOUT)
    async with small as database:
        first = await use(database)
        backends = await asyncio.gather(*(use(database) for _ in range(50)))
        state = database.pools()[use.__name__]

    assert set(backends) == {first}
    assert (state.in_use, state.idle, state.waiting, state.waits) == (0, 1, 0, 49)
    assert state.wait_seconds > 0


@pytest.mark.integration
async def test_pool_exhausted_opens_and_closes_overflow(small: Database) -> None:
    async with small as database:
        async with database.uow.begin() as first:
            pid = (await first.execute(BACKEND_PID)).scalar_one()
            assert await write(database) != pid
            # The request waits in the pool for the next connection. The pool is full only with
            # both.
            assert database.pools()["write"].idle == 1
        assert database.pools()["write"].idle == 1


@pytest.mark.integration
async def test_pool_exhausted_overflow_is_unavailable(server_url: URL, settings: Settings) -> None:
    changes = {"db_pool_size": 1, "db_max_overflow": 1, "db_pool_timeout": 0.1}
    small = pools(server_url, settings.model_copy(update=changes))
    async with small as database, database.uow.begin(), database.uow.begin():
        with pytest.raises(ServiceUnavailableError):
            await write(database)
        assert await read(database)


@pytest.mark.integration
@USES
async def test_pool_connection_closed_by_server_is_replaced(
    small: Database, server_url: URL, use: Use
) -> None:
    async with small as database, await psycopg.AsyncConnection.connect(dsn(server_url)) as other:
        pid = await use(database)
        await other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        # Let the event loop notice the closed connection.
        await asyncio.sleep(0.05)
        assert await use(database) != pid


@pytest.mark.integration
@USES
async def test_pool_close_of_terminated_connection_logs_nothing(
    small: Database, server_url: URL, use: Use, caplog: pytest.LogCaptureFixture
) -> None:
    async with small as database:
        pid = await use(database)
        # Block the event loop, so that the pool closes before the loop notices.
        with psycopg.connect(dsn(server_url)) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    assert not caplog.records


@pytest.mark.unit
async def test_limiter_waiters_are_served_in_order() -> None:
    """A newcomer does not overtake waiting requests."""
    limiter = ConnectionLimiter(size=1, overflow=0, timeout=TIMEOUT)
    served: list[int] = []

    async def use(number: int) -> None:
        async with limiter:
            served.append(number)
        # Ask again at once: the woken requests have not run yet.
        if number < 3:
            await use(number + 10)

    async with limiter:
        tasks = [asyncio.create_task(use(number)) for number in range(6)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert served == [0, 1, 2, 3, 4, 5, 10, 11, 12]


@pytest.mark.unit
async def test_limiter_cancelled_waiter_gives_place_back() -> None:
    """The waiter is cancelled after it got a place and before it runs."""
    limiter = ConnectionLimiter(size=1, overflow=0, timeout=TIMEOUT)
    async with limiter:
        waiting = asyncio.create_task(limiter.__aenter__())
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with limiter:
        assert limiter.state(idle=0)[:3] == (1, 0, 0)


@pytest.mark.unit
async def test_limiter_grows_by_waiting_and_shrinks_when_nothing_waits() -> None:
    limiter = ConnectionLimiter(size=1, overflow=2, timeout=TIMEOUT)
    for _ in range(2):
        async with limiter, limiter, limiter:
            assert limiter.state(idle=0).in_use == 3

    # Every time, the second and the third.
    assert limiter.state(idle=0).waits == 4


@pytest.mark.unit
async def test_limiter_full_times_out() -> None:
    limiter = ConnectionLimiter(size=1, overflow=1, timeout=0.1)
    async with limiter, limiter:
        with pytest.raises(TimeoutError):
            await limiter.__aenter__()

    assert limiter.state(idle=0)[:3] == (0, 0, 0)
