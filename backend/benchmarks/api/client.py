"""A load generator for machines without wrk, and for requests that take long.

It takes more CPU than wrk, so figures are lower by it; but it waits for what it has asked, where
wrk forgets what is not answered at the end.
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
# How long answers may take after the last request was sent.
_PATIENCE = 30.0


# What part of a turn a request may take before it matters that wrk forgets the last ones.
_LONG = 0.1


class BuiltIn:
    """asyncio, in the benchmark's own process.

    With `steady`, it counts from the moment when every connection has had its first answer and for
    so long; answers of 400 and more are counted as failures only, not in the percentiles. With
    `patient`, a connection waits as long as such an answer's Retry-After says before it asks again.
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
    """The generator, or the one that waits when the warm-up's requests took long for a turn."""
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
    """By nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0


class _Run:
    """What the connections share."""

    def __init__(
        self, requests: Iterator[bytes], seconds: float, *, steady: bool, patient: bool
    ) -> None:
        self.requests = requests
        self.seconds = seconds
        self.until = 0.0
        self.steady = steady
        self.with_command_timeouts = patient
        self.latencies: list[float] = []
        # Seconds, like those: of answers of 400 and more, when they are not among them.
        self.refusals: list[float] = []
        self.failures = 0

    def begin(self) -> float:
        """When that was; until the time is over, or until it begins anew, however long that is."""
        now = time.perf_counter()
        self.until = now + self.seconds + (_PATIENCE if self.steady else 0.0)
        return now

    def begin_anew(self) -> None:
        """Forget what was counted."""
        self.until = time.perf_counter() + self.seconds
        self.failures = 0
        self.latencies.clear()
        self.refusals.clear()

    def count(self, seconds: float, *, failed: bool) -> None:
        """Count an answer that has taken so long.

        When it is steady, none that came when the rush was over, and with it what is looked for.
        """
        if self.steady and time.perf_counter() > self.until:
            return
        self.failures += failed
        (self.refusals if failed and self.steady else self.latencies).append(seconds)


class _Client(asyncio.Protocol):
    """One connection; `done` when it has nothing more to ask."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._sent = 0.0
        # Until it asks again.
        self._pause: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's has the methods but not the class.
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
        """Give up what has not been answered."""
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
