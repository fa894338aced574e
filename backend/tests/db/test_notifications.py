"""Notifications about commits of other transactions."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.support.database_faults import wait_for_rows
from tests.support.listeners import LISTENERS, LISTENING, NO_LISTENERS
from tests.support.stored_rows import fetch_rows

from app.db import notifications
from app.db.notifications import Listener, Subscription
from app.db.session import Database

pytestmark = pytest.mark.integration

# Far longer than a message takes.
WAIT_SECONDS = 20.0


@pytest.fixture
async def listener(database_url: str) -> AsyncIterator[Listener]:
    listener = Listener(database_url, "channel")
    yield listener
    await listener.aclose()


async def notify(database: Database, payload: str) -> None:
    async with database.uow.begin() as session:
        await session.execute(text("SELECT pg_notify('channel', :payload)"), {"payload": payload})


async def is_woken(subscription: Subscription) -> bool:
    """Return whether a message ends the wait long before its limit."""
    started = asyncio.get_running_loop().time()
    await subscription.wait(WAIT_SECONDS)
    return asyncio.get_running_loop().time() - started < WAIT_SECONDS / 2


async def wait_until_listening(database: Database, *subscriptions: Subscription) -> None:
    """Wait until the service listens, and consume the first message of each subscriber."""
    await wait_for_rows(database, LISTENING)
    for subscription in subscriptions:
        assert await is_woken(subscription)


async def test_listener_message_wakes_its_subscribers(
    listener: Listener, database: Database
) -> None:
    with listener.subscribed("1") as one, listener.subscribed("2") as two:
        await wait_until_listening(database, one, two)
        await notify(database, "1")
        assert await is_woken(one)
        await two.wait(0.05)
        await notify(database, "2")
        assert await is_woken(two)
    with listener.subscribed("1") as first, listener.subscribed("1") as second:
        await wait_until_listening(database, first, second)
        await notify(database, "1")
        assert await is_woken(first)
        assert await is_woken(second)


async def test_listener_message_before_wait_is_delivered(
    listener: Listener, database: Database
) -> None:
    with listener.subscribed("1") as one, listener.subscribed("2") as two:
        await wait_until_listening(database, one, two)
        await notify(database, "1")
        await notify(database, "2")
        assert await is_woken(two)
        # Messages arrive in order, so the first one has arrived as well.
        assert await is_woken(one)


async def test_listener_wait_without_message_times_out(listener: Listener) -> None:
    with listener.subscribed("1") as one:
        await one.wait(0)
        await one.wait(0.01)


async def test_listener_without_subscribers_disconnects(
    listener: Listener, database: Database
) -> None:
    assert await fetch_rows(database, LISTENERS) == []
    for _ in range(3):
        with listener.subscribed("1") as one:
            with listener.subscribed("2"):
                await wait_until_listening(database, one)
            assert len(await fetch_rows(database, LISTENERS)) == 1
        await wait_for_rows(database, NO_LISTENERS)


async def test_listener_short_subscriptions_leave_no_connection(
    listener: Listener, database: Database
) -> None:
    for pause in (0, 0.001, 0.01, 0.02, 0.05):
        for _ in range(5):
            with listener.subscribed("1") as one:
                await one.wait(pause)
    with listener.subscribed("1") as one:
        await wait_for_rows(database, LISTENING)
        await notify(database, "1")
        assert await is_woken(one)
    await wait_for_rows(database, NO_LISTENERS)


async def test_listener_lost_connection_reconnects(listener: Listener, database: Database) -> None:
    with listener.subscribed("1") as one:
        await wait_until_listening(database, one)
        for _ in range(3):
            [(old,)] = await fetch_rows(database, LISTENERS)
            await fetch_rows(database, f"SELECT pg_terminate_backend({old})")
            # A reconnect wakes the subscriber, because messages may have been lost.
            assert await is_woken(one)
            await wait_for_rows(database, f"{LISTENING} AND pid <> {old}")
            await notify(database, "1")
            assert await is_woken(one)


async def test_listener_unreachable_database_retries_until_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notifications, "_PAUSE_SECONDS", 0.01)
    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    listener = Listener(nowhere, "channel")
    with listener.subscribed("1") as one:
        await one.wait(0.1)
        listener.close()
        assert await is_woken(one)
    await listener.aclose()


async def test_listener_takes_no_pooled_connection(listener: Listener, database: Database) -> None:
    with listener.subscribed("1") as one:
        await wait_until_listening(database, one)
        await wait_for_rows(database, LISTENING)
        assert {pool.in_use for pool in database.pools().values()} == {0}


async def test_listener_close_wakes_all_subscribers(listener: Listener, database: Database) -> None:
    with listener.subscribed("1") as one, listener.subscribed("2") as two:
        await wait_until_listening(database, one, two)
        assert not listener.closed
        listener.close()
        assert listener.closed
        assert await is_woken(one)
        assert await is_woken(two)
    await listener.aclose()
    await wait_for_rows(database, NO_LISTENERS)
    await listener.aclose()
