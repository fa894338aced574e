"""Hearing of what others have committed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.support.database_faults import wait_for_rows
from tests.support.listeners import LISTENERS, LISTENING, NOBODY_LISTENS
from tests.support.stored_rows import fetch_rows

from app.db import notifications
from app.db.notifications import Listener, Subscription
from app.db.session import Database

pytestmark = pytest.mark.integration

# Far longer than a message takes, and than any test should.
LONG = 20.0


@pytest.fixture
async def listener(database_url: str) -> AsyncIterator[Listener]:
    listener = Listener(database_url, "channel")
    yield listener
    await listener.aclose()


async def tell(database: Database, payload: str) -> None:
    async with database.transaction() as session:
        await session.execute(text("SELECT pg_notify('channel', :payload)"), {"payload": payload})


async def woken(subscription: Subscription) -> bool:
    """Whether something has woken it, in a time in which only a message does."""
    started = asyncio.get_running_loop().time()
    await subscription.wait(LONG)
    return asyncio.get_running_loop().time() - started < LONG / 2


async def connected(database: Database, *subscriptions: Subscription) -> None:
    """Wait until it listens, and take the call that everybody gets then."""
    await wait_for_rows(database, LISTENING)
    for subscription in subscriptions:
        assert await woken(subscription)


async def test_who_waits_is_woken_by_a_message_for_him(
    listener: Listener, database: Database
) -> None:
    with listener.subscribed("1") as one, listener.subscribed("2") as two:
        await connected(database, one, two)
        await tell(database, "1")
        assert await woken(one)
        await two.wait(0.05)
        await tell(database, "2")
        assert await woken(two)
    with listener.subscribed("1") as first, listener.subscribed("1") as second:
        await connected(database, first, second)
        await tell(database, "1")
        assert await woken(first)
        assert await woken(second)


async def test_a_message_before_the_wait_is_not_missed(
    listener: Listener, database: Database
) -> None:
    with listener.subscribed("1") as one, listener.subscribed("2") as two:
        await connected(database, one, two)
        await tell(database, "1")
        await tell(database, "2")
        assert await woken(two)
        # Both have come by now, in this order.
        assert await woken(one)


async def test_a_wait_ends_without_a_message_too(listener: Listener) -> None:
    with listener.subscribed("1") as one:
        await one.wait(0)
        await one.wait(0.01)


async def test_it_is_connected_only_while_somebody_waits(
    listener: Listener, database: Database
) -> None:
    assert await fetch_rows(database, LISTENERS) == []
    for _ in range(3):
        with listener.subscribed("1") as one:
            with listener.subscribed("2"):
                await connected(database, one)
            assert len(await fetch_rows(database, LISTENERS)) == 1
        await wait_for_rows(database, NOBODY_LISTENS)


async def test_who_comes_and_goes_at_once_leaves_no_connection(
    listener: Listener, database: Database
) -> None:
    for pause in (0, 0.001, 0.01, 0.02, 0.05):
        for _ in range(5):
            with listener.subscribed("1") as one:
                await one.wait(pause)
    with listener.subscribed("1") as one:
        await wait_for_rows(database, LISTENING)
        await tell(database, "1")
        assert await woken(one)
    await wait_for_rows(database, NOBODY_LISTENS)


async def test_a_lost_connection_is_made_anew(listener: Listener, database: Database) -> None:
    with listener.subscribed("1") as one:
        await connected(database, one)
        for _ in range(3):
            [(old,)] = await fetch_rows(database, LISTENERS)
            await fetch_rows(database, f"SELECT pg_terminate_backend({old})")
            # What was sent meanwhile may be lost, so he is woken in any case.
            assert await woken(one)
            await wait_for_rows(database, f"{LISTENING} AND pid <> {old}")
            await tell(database, "1")
            assert await woken(one)


async def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_PAUSE_SECONDS", 0.01)
    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    listener = Listener(nowhere, "channel")
    with listener.subscribed("1") as one:
        await one.wait(0.1)
        listener.close()
        assert await woken(one)
    await listener.aclose()


async def test_it_takes_no_connection_of_the_pool(listener: Listener, database: Database) -> None:
    with listener.subscribed("1") as one:
        await connected(database, one)
        await wait_for_rows(database, LISTENING)
        pool = database.write_engine.pool
        assert pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_closing_wakes_everybody_for_good(listener: Listener, database: Database) -> None:
    with listener.subscribed("1") as one, listener.subscribed("2") as two:
        await connected(database, one, two)
        assert not listener.closed
        listener.close()
        assert listener.closed
        assert await woken(one)
        assert await woken(two)
    await listener.aclose()
    await wait_for_rows(database, NOBODY_LISTENS)
    await listener.aclose()
