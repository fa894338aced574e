"""The interface of load generators and their result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.api.http import Request


@dataclass(frozen=True)
class Load:
    """The result of a load.

    `requests` counts answers of any status. `failures` counts answers of 400 and more, and
    connections that broke or timed out. `refused_ms` is the 99th percentile of the refused
    requests, if they are counted separately. `settled_seconds` is the time until every connection
    had its first answer, if the generator waits for that.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    refused_ms: float = 0.0
    settled_seconds: float = 0.0


class Generator(Protocol):
    """A load generator, which repeats requests on connections with one open request each."""

    @property
    def name(self) -> str:
        """Return the name for the report."""

    def run(
        self, port: int, requests: Sequence[Request], *, connections: int, seconds: float
    ) -> Load:
        """Keep `connections` busy for about `seconds`."""
