"""A limit of the requests that one process works on at a time.

A process that takes more than it can carry makes all clients wait until all give up. Requests up to
a limit share what there is. What comes beyond is refused at once, and may come again after a while.
"""

import re

from app.observability import metrics

# Exports, uploads and streams of events take time without taking the processor. Health is asked for
# just when there is too much.
_UNCOUNTED = re.compile(
    r"POST /imports|(GET|HEAD) (/health(/live|/ready)?|/imports/\d+/events|/deals/export)", re.ASCII
)
# The beginnings of those paths; nothing else is looked at closely.
_PERHAPS_UNCOUNTED = ("/health", "/imports", "/deals/export")


class ConcurrencyLimiter:
    """One process's count of the requests that are in progress.

    `also_uncounted` is one more path that is always let in.
    """

    def __init__(self, most: int, also_uncounted: str = "") -> None:
        self._most = most
        self._also_uncounted = also_uncounted
        more = (also_uncounted,) if also_uncounted else ()
        self._perhaps_uncounted = (*_PERHAPS_UNCOUNTED, *more)
        self.in_progress = 0
        # The server is about to stop, and takes what comes until then.
        self.draining = False

    def counts(self, method: str, path: str) -> bool:
        """Return whether such a request needs a slot."""
        return not path.startswith(self._perhaps_uncounted) or not (
            path == self._also_uncounted or _UNCOUNTED.fullmatch(f"{method} {path}")
        )

    def try_acquire(self) -> bool:
        """Take a slot for one request, unless there is none."""
        if self.in_progress >= self._most:
            metrics.requests_shed.inc()
            return False
        self.in_progress += 1
        return True

    def release(self) -> None:
        """Give one slot back."""
        self.in_progress -= 1

    def drain(self) -> None:
        """Note that the server is about to stop."""
        self.draining = True
