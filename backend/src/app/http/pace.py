"""Rate limiting that delays events."""

import time
from collections.abc import Callable


class Pace:
    """A rate limiter that delays events beyond `per_second` by at most `longest` seconds.

    After a pause, `burst` events have no delay.
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
        """Schedule one event and return its delay in seconds."""
        now = self._clock()
        due = max(self._next, now - self._burst_seconds) + self._interval
        self._next = min(due, now + self._longest)
        return max(self._next - now, 0.0)
