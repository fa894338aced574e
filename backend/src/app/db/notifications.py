"""Notifications of committed changes, received with LISTEN on a dedicated connection."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.core.errors import AppError
from app.db.errors import database_errors

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0


class Subscription:
    """A wake-up signal for one task that waits for notifications."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Make the current call of `wait` return. If no task waits, make the next call return."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, for at most `seconds`.

        If `wake` was called since the last `wait` ended, return at once.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


class Listener:
    """A listener on one channel that wakes subscriptions, connected while subscriptions exist.

    `url` must bypass PgBouncer, because LISTEN does not work in transaction mode. Notifications
    sent while the listener is not connected are lost. Therefore each new connection wakes all
    subscriptions, and a woken task must query the current state.
    """

    def __init__(self, url: str, channel: str) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "timeout": 5,
                "server_settings": {"application_name": "hotel-deals listener"},
            },
        )
        self._channel = channel
        self._subscribers: dict[str, set[Subscription]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Return whether the process is shutting down and tasks should stop waiting."""
        return self._closed

    @contextmanager
    def subscribed(self, payload: str) -> Iterator[Subscription]:
        """Yield a subscription that notifications with `payload` wake until the block ends."""
        subscription = Subscription()
        self._subscribers[payload].add(subscription)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        try:
            yield subscription
        finally:
            self._subscribers[payload].discard(subscription)
            if not self._subscribers[payload]:
                del self._subscribers[payload]
            if not self._subscribers:
                self._lost.set()

    def close(self) -> None:
        """Mark the listener as closed and wake all subscriptions."""
        self._closed = True
        self._wake_all()

    async def aclose(self) -> None:
        """Close the listener and wait until its connection is closed."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _wake_all(self) -> None:
        for subscriptions in self._subscribers.values():
            for subscription in subscriptions:
                subscription.wake()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for subscription in self._subscribers.get(str(payload), ()):
            subscription.wake()

    async def _listen(self) -> None:
        while self._subscribers:
            try:
                with database_errors():
                    await self._listen_once()
            except AppError as error:
                logger.warning("not listening to the database: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen_once(self) -> None:
        """Listen until the connection is lost or no subscription is left."""
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver_connection: Any = raw.driver_connection
            self._lost.clear()
            if not self._subscribers:
                return
            driver_connection.add_termination_listener(lambda _: self._lost.set())
            await driver_connection.add_listener(self._channel, self._heard)
            self._wake_all()
            await self._lost.wait()
            if not driver_connection.is_closed():
                await driver_connection.remove_listener(self._channel, self._heard)
