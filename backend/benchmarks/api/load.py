"""What a load generator is and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.api.http import Request


@dataclass(frozen=True)
class Load:
    """What came of sending requests for a while.

    `requests` counts answers of any status, `failures` those of 400 and more, and connections that
    broke or timed out. `refused_ms` is the 99th percentile of those, where they are not among the
    others, and `settled_seconds` is when every connection had its first answer, where that is
    waited for.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    refused_ms: float = 0.0
    settled_seconds: float = 0.0


class Generator(Protocol):
    """Sends the requests in turn, again and again, each connection one after the other."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def run(
        self, port: int, requests: Sequence[Request], *, connections: int, seconds: float
    ) -> Load:
        """Keep `connections` busy for about `seconds`."""
