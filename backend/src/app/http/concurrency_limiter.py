"""The limit on in-flight requests in one process.

If an overloaded process admitted every request, all clients would wait until they time out. With a
limit, admitted requests stay fast. Other requests are refused at once, and clients can retry them.
"""

import re

from app.observability import metrics

# Requests that are always admitted: exports, uploads and event streams, which take long but use
# little CPU, and health checks, which must work under overload.
_UNCOUNTED = re.compile(
    r"POST /imports|(GET|HEAD) (/health(/live|/ready)?|/imports/\d+/events|/deals/export)", re.ASCII
)
# Path prefixes of `_UNCOUNTED`. Requests for other paths skip the regular expression.
_PERHAPS_UNCOUNTED = ("/health", "/imports", "/deals/export")


class ConcurrencyLimiter:
    """A counter of the in-flight requests in a process, limited to `most`.

    Requests for the path `also_uncounted` are always admitted.
    """

    def __init__(self, most: int, also_uncounted: str = "") -> None:
        self._most = most
        self._also_uncounted = also_uncounted
        more = (also_uncounted,) if also_uncounted else ()
        self._perhaps_uncounted = (*_PERHAPS_UNCOUNTED, *more)
        self.in_progress = 0
        # True during a graceful shutdown. The limiter still admits requests.
        self.draining = False

    def counts(self, method: str, path: str) -> bool:
        """Return whether a request with this method and path needs a slot."""
        return not path.startswith(self._perhaps_uncounted) or not (
            path == self._also_uncounted or _UNCOUNTED.fullmatch(f"{method} {path}")
        )

    def try_acquire(self) -> bool:
        """Take a slot for one request. Return False if none is free."""
        if self.in_progress >= self._most:
            metrics.requests_shed.inc()
            return False
        self.in_progress += 1
        return True

    def release(self) -> None:
        """Free the slot of a request that has ended."""
        self.in_progress -= 1

    def drain(self) -> None:
        """Record that a graceful shutdown has begun."""
        self.draining = True
