"""A limit on the rate of an event, by delays."""

import time
from collections.abc import Callable


class Pace:
    """A schedule of `per_second` events, with `burst` immediate events after a pause.

    An early event is delayed, by `longest` seconds at most.
    """

    def __init__(
        self,
        per_second: float,
        burst: int,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 1 / per_second
        self._burst_seconds = burst * self._interval
        self._longest = longest
        self._clock = clock
        self._next = 0.0

    def next_delay(self) -> float:
        """Return the seconds until the next event may happen."""
        now = self._clock()
        due = max(self._next, now - self._burst_seconds) + self._interval
        self._next = min(due, now + self._longest)
        return max(self._next - now, 0.0)
