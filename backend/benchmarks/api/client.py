"""A load generator for machines without wrk, and for slow requests.

It uses more CPU than wrk, so its figures are lower. It waits for all answers, whereas wrk drops the
requests that are unanswered at the end.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from typing import cast

import uvloop

from benchmarks.api.http import Request
from benchmarks.api.load import Generator, Load

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_ERRORS_FROM = 400
# In seconds: the wait for answers after the last request.
_PATIENCE = 30.0


# The share of a turn from which a request's duration makes wrk's dropped requests matter.
_LONG = 0.1


class BuiltIn:
    """An asyncio client in the benchmark's own process.

    With `steady`, it counts only after every connection has had its first answer, and answers of
    400 and more count as failures but not in the percentiles. With `patient`, a connection waits
    after such an answer as long as its Retry-After says.
    """

    name = "built-in client"

    def __init__(self, *, steady: bool = False, patient: bool = False) -> None:
        self._steady = steady
        self._patient = patient

    def run(
        self, port: int, requests: Sequence[Request], *, connections: int, seconds: float
    ) -> Load:
        """Keep the connections busy for `seconds`."""
        raw = itertools.cycle([request.raw() for request in requests])
        run = _Run(raw, seconds, steady=self._steady, patient=self._patient)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_load(port, run, connections))


def suited(generator: Generator, warm_up: Load, seconds: float) -> Generator:
    """Return the generator, or the built-in client if the warm-up's requests were slow."""
    return BuiltIn() if warm_up.p50_ms / 1000 > _LONG * seconds else generator


async def _load(port: int, run: "_Run", connections: int) -> Load:
    loop = asyncio.get_running_loop()
    started = run.begin()
    settled = 0.0
    clients = [_Client(run) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    if run.steady:
        await asyncio.wait([client.answered for client in clients], timeout=_PATIENCE)
        settled = time.perf_counter() - started
        run.begin_anew()
    await asyncio.wait([client.done for client in clients], timeout=run.seconds + _PATIENCE)
    for client in clients:
        client.stop()
    run.latencies.sort()
    return Load(
        requests=len(run.latencies),
        seconds=run.seconds if run.steady else time.perf_counter() - started,
        p50_ms=_percentile(run.latencies, 50) * 1000,
        p99_ms=_percentile(run.latencies, 99) * 1000,
        failures=run.failures,
        refused_ms=_percentile(sorted(run.refusals), 99) * 1000,
        settled_seconds=settled,
    )


def _percentile(ordered: list[float], percent: int) -> float:
    """Return a percentile by nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0


class _Run:
    """The shared state of the connections."""

    def __init__(
        self, requests: Iterator[bytes], seconds: float, *, steady: bool, patient: bool
    ) -> None:
        self.requests = requests
        self.seconds = seconds
        self.until = 0.0
        self.steady = steady
        self.with_command_timeouts = patient
        self.latencies: list[float] = []
        # The latencies in seconds of answers of 400 and more, if they are counted separately.
        self.refusals: list[float] = []
        self.failures = 0

    def begin(self) -> float:
        """Start the clock and return the time. A steady run adds time for the first answers."""
        now = time.perf_counter()
        self.until = now + self.seconds + (_PATIENCE if self.steady else 0.0)
        return now

    def begin_anew(self) -> None:
        """Reset the counts and start the measured time."""
        self.until = time.perf_counter() + self.seconds
        self.failures = 0
        self.latencies.clear()
        self.refusals.clear()

    def count(self, seconds: float, *, failed: bool) -> None:
        """Count an answer with its latency.

        A steady run ignores answers after its end, when the load is no longer complete.
        """
        if self.steady and time.perf_counter() > self.until:
            return
        self.failures += failed
        (self.refusals if failed and self.steady else self.latencies).append(seconds)


class _Client(asyncio.Protocol):
    """One connection, which sets `done` after its last answer."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._sent = 0.0
        # The timer of the next request after a refusal.
        self._pause: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the methods of this class but does not derive from it.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(_END)
        if head < 0:
            return
        length = _LENGTH.search(self._received, 0, head + 2)
        if len(self._received) < head + len(_END) + (int(length[1]) if length else 0):
            return
        if not self.answered.done():
            self.answered.set_result(None)
        failed = int(self._received[9:12]) >= _ERRORS_FROM
        self._run.count(time.perf_counter() - self._sent, failed=failed)
        pause = (
            _RETRY_AFTER.search(self._received, 0, head + 2)
            if self._run.with_command_timeouts
            else None
        )
        self._received = b""
        if failed and pause:
            self._pause = asyncio.get_running_loop().call_later(int(pause[1]), self._send)
        else:
            self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if not self.done.done():
            self._run.failures += 1
            self.done.set_result(None)

    def stop(self) -> None:
        """Abort an unanswered request and count it as a failure."""
        if not self.done.done():
            self._run.failures += 1
            self.done.set_result(None)
            self._transport.abort()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._run.until:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(next(self._run.requests))
