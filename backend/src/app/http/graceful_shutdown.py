"""Learning that the server is to stop while its connections are still open.

Servers end the application's lifespan after the last response. A stream of events would keep that
from coming, so the application hears the signal itself.
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
    """Functions to call when the server is told to stop, in this order.

    `begin` comes at once, `end` after `delay` seconds in which the server serves on. The server
    stops after that, or at a second signal.
    """

    begin: Callable[[], None]
    end: Callable[[], None]
    delay: float = 0.0


@contextmanager
def on_server_stop(hooks: ShutdownHooks) -> Iterator[None]:
    """Call the hooks in the event loop before the server's own handler of a signal to stop.

    Without such a handler of SIGTERM, as in tests or in a thread, signals keep their meaning.
    """
    relay = SignalRelay(asyncio.get_running_loop(), hooks)
    if threading.current_thread() is threading.main_thread() and relay.listen(signal.SIGTERM):
        relay.listen(signal.SIGINT)
    try:
        yield
    finally:
        relay.stop()


class SignalRelay:
    """A signal handler that calls the hooks, and then the handler that was there before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hooks: ShutdownHooks) -> None:
        self._loop = loop
        self._hooks = hooks
        self._signals = 0
        self._servers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def listen(self, number: signal.Signals) -> bool:
        """Take the place of a server's handler, and return whether there was one."""
        handler = signal.signal(number, self._receive)
        if callable(handler):
            self._servers[number] = handler
            return True
        signal.signal(number, handler)
        return False

    def stop(self) -> None:
        """Give the servers' handlers their places back."""
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
        # A second signal has not waited for this. To uvicorn, one more means "now".
        if self._signals == 1:
            self._end(number)

    def _end(self, number: int) -> None:
        self._hooks.end()
        self._servers[number](number, None)
