"""How many requests are let in at a time.

A process that takes more than it can carry makes everybody wait until everybody gives up. Requests
up to a limit share what there is; what comes beyond is refused at once, and may come again after
a while. Who comes sooner on the same connection is not let in before the rush is over: else those
that wait as they were told would find somebody before them, and refusals cost more than requests.
"""

import re
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from app.observability import metrics

_UPLOAD = b"POST /imports"
# What takes its time without taking the processor, exports, uploads and streams of events; and what
# is asked for just when there is too much.
_UNCOUNTED = re.compile(
    rb"%s|(GET|HEAD) (/health(/live|/ready)?|/imports/\d+/events|/deals/export)" % _UPLOAD
)
# How those begin; nothing else is looked at closely.
_PERHAPS_UNCOUNTED = (b"/health", b"/imports", b"/deals/export")


class Kind(NamedTuple):
    """What kind of request it is: whether it counts, and whether its body is a file."""

    counts: bool
    is_upload: bool


_USUAL = Kind(counts=True, is_upload=False)


class ConcurrencyLimiter:
    """One process's count of the requests that are in progress.

    `also_uncounted` is one more path that is always let in.
    """

    def __init__(self, most: int, also_uncounted: str = "") -> None:
        self._most = most
        self._also_uncounted = also_uncounted.encode()
        self._perhaps_uncounted: tuple[bytes, ...] = _PERHAPS_UNCOUNTED
        if also_uncounted:
            self._perhaps_uncounted += (self._also_uncounted,)
        self.in_progress = 0
        # Since there was no room, and until half of it is free again.
        self._rush = False
        # The server is about to stop, and takes what comes until then.
        self.draining = False

    def kind(self, method: bytes, path: bytes) -> Kind:
        """Of a request, by what its first line says."""
        if not path.startswith(self._perhaps_uncounted):
            return _USUAL
        request = b"%s %s" % (method, path)
        counts = path != self._also_uncounted and not _UNCOUNTED.fullmatch(request)
        return Kind(counts, request == _UPLOAD)

    def try_acquire(self, *, early: bool = False) -> bool:
        """Whether one more may come in; it is in then, and `counted` must run it.

        `early` is one that was refused, and comes again before the time it was told.
        """
        full = self.in_progress >= self._most
        self._rush = self._rush or full
        if full or (early and self._rush):
            metrics.requests_shed.inc()
            return False
        self.in_progress += 1
        return True

    def release(self) -> None:
        """One that has entered is over."""
        self.in_progress -= 1
        if self.in_progress <= self._most // 2:
            self._rush = False

    def drain(self) -> None:
        """Note that the server is about to stop."""
        self.draining = True

    def counted(self, app: ASGIApp) -> ASGIApp:
        """`app` for requests that have entered; each makes room when it has ended."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            finally:
                self.release()

        return serve
