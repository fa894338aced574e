"""Learning that the server is to stop while its connections are still open.

Servers end the application's lifespan after the last response; a stream of events would keep that
from coming. So it has to hear the signal itself.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

import uvicorn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class ShutdownHooks:
    """What is to be done when the server is told to stop, in this order.

    `begin` comes at once, `end` after `delay` seconds in which the server serves on; it stops
    after that, and also at a second signal.
    """

    begin: Callable[[], None]
    end: Callable[[], None]
    delay: float = 0.0


_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def on_server_stop(stopping: ShutdownHooks) -> Iterator[None]:
    """Do so in the event loop when uvicorn gets the signal to stop.

    Under any other server, or a test client, nothing happens.
    """
    loop = asyncio.get_running_loop()
    signalled = _Signalled(loop, stopping)
    ours: dict[signal.Signals, _Handler] = {}
    for number in _SIGNALS:
        theirs = signal.getsignal(number)
        if callable(theirs) and isinstance(getattr(theirs, "__self__", None), uvicorn.Server):
            signal.signal(number, partial(signalled, theirs))
            ours[number] = theirs
    try:
        yield
    finally:
        for number, theirs in ours.items():
            signal.signal(number, theirs)


class _Signalled:
    """What stands between a signal and uvicorn's handler of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stopping: ShutdownHooks) -> None:
        self._loop = loop
        self._stopping = stopping
        self._signals = 0

    def __call__(self, theirs: _Handler, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1 and self._stopping.delay:
            self._loop.call_soon_threadsafe(self._begin, theirs, number)
            return
        self._loop.call_soon_threadsafe(self._stopping.begin)
        self._loop.call_soon_threadsafe(self._stopping.end)
        theirs(number, frame)

    def _begin(self, theirs: _Handler, number: int) -> None:
        self._stopping.begin()
        self._loop.call_later(self._stopping.delay, self._end, theirs, number)

    def _end(self, theirs: _Handler, number: int) -> None:
        # Another signal has not waited for this; to uvicorn, one more means "now".
        if self._signals == 1:
            self._stopping.end()
            theirs(number, None)
