"""Learning that the server is to stop while its connections are still open.

Servers end the application's lifespan after the last response; a stream of events would keep that
from coming. So it has to hear the signal itself.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_server_stop(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` in the event loop when uvicorn gets the signal to stop, before it acts on it.

    Under any other server, or a test client, nothing happens.
    """
    loop = asyncio.get_running_loop()
    ours = {}
    for number in _SIGNALS:
        theirs = signal.getsignal(number)
        if callable(theirs) and isinstance(getattr(theirs, "__self__", None), uvicorn.Server):

            def handle(
                received: int,
                frame: FrameType | None,
                handler: Callable[[int, FrameType | None], object] = theirs,
            ) -> None:
                loop.call_soon_threadsafe(tell)
                handler(received, frame)

            signal.signal(number, handle)
            ours[number] = theirs
    try:
        yield
    finally:
        for number, theirs in ours.items():
            signal.signal(number, theirs)
