"""Graceful shutdown: hooks that run when the process receives a stop signal.

uvicorn waits for all responses before it ends the application's lifespan. Open event streams would
block it forever, so the application handles the signal itself and ends its streams.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True)
class ShutdownHooks:
    """Functions to call when the process receives a stop signal.

    A signal calls `begin` at once. After `delay` more seconds of normal service, `end` is called
    and the server stops. A second signal skips the rest of the delay.
    """

    begin: Callable[[], None]
    end: Callable[[], None]
    delay: float = 0.0


@contextmanager
def on_server_stop(hooks: ShutdownHooks) -> Iterator[None]:
    """Call the hooks in the event loop on SIGTERM and SIGINT, before the server's own handlers.

    Outside the main thread, or if SIGTERM has no Python handler, change no signal handling.
    """
    relay = SignalRelay(asyncio.get_running_loop(), hooks)
    if threading.current_thread() is threading.main_thread() and relay.listen(signal.SIGTERM):
        relay.listen(signal.SIGINT)
    try:
        yield
    finally:
        relay.stop()


class SignalRelay:
    """A signal handler that calls the hooks and then the previous handler."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hooks: ShutdownHooks) -> None:
        self._loop = loop
        self._hooks = hooks
        self._signals = 0
        self._servers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def listen(self, number: signal.Signals) -> bool:
        """Replace a signal's handler.

        If the signal has no Python handler, leave it unchanged and return False.
        """
        handler = signal.signal(number, self._receive)
        if callable(handler):
            self._servers[number] = handler
            return True
        signal.signal(number, handler)
        return False

    def stop(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._servers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        self._signals += 1
        self._hooks.begin()
        if self._signals == 1 and self._hooks.delay:
            self._loop.call_later(self._hooks.delay, self._end_unless_done, number)
        else:
            self._end(number)

    def _end_unless_done(self, number: int) -> None:
        # After a second signal `_end` has already run. A second call of uvicorn's handler would
        # force an immediate stop.
        if self._signals == 1:
            self._end(number)

    def _end(self, number: int) -> None:
        self._hooks.end()
        self._servers[number](number, None)
