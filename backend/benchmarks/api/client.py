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
_ERRORS_FROM = 400
# How long answers may take after the last request was sent.
_PATIENCE = 30.0


# What part of a turn a request may take before it matters that wrk forgets the last ones.
_LONG = 0.1


class BuiltIn:
    """asyncio, in the benchmark's own process.

    With `steady`, it counts from the moment when every connection has had its first answer, and
    answers of 400 and more are counted as failures only, not in the percentiles.
    """

    name = "built-in client"

    def __init__(self, *, steady: bool = False) -> None:
        self._steady = steady

    def run(
        self, port: int, requests: Sequence[Request], *, connections: int, seconds: float
    ) -> Load:
        """Keep the connections busy for `seconds`."""
        raw = [request.raw() for request in requests]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_load(port, raw, connections, seconds, steady=self._steady))


def suited(generator: Generator, warm_up: Load, seconds: float) -> Generator:
    """The generator, or the one that waits when the warm-up's requests took long for a turn."""
    return BuiltIn() if warm_up.p50_ms / 1000 > _LONG * seconds else generator


async def _load(
    port: int, raw: list[bytes], connections: int, seconds: float, *, steady: bool
) -> Load:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    # Until it begins anew, as long as that may take.
    until = started + seconds + (_PATIENCE if steady else 0.0)
    run = _Run(itertools.cycle(raw), until, steady=steady)
    clients = [_Client(run) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    if steady:
        await asyncio.wait([client.answered for client in clients], timeout=_PATIENCE)
        started = run.begin_anew(seconds)
    await asyncio.wait([client.done for client in clients], timeout=seconds + _PATIENCE)
    for client in clients:
        client.stop()
    run.latencies.sort()
    return Load(
        requests=len(run.latencies),
        seconds=time.perf_counter() - started,
        p50_ms=_percentile(run.latencies, 50) * 1000,
        p99_ms=_percentile(run.latencies, 99) * 1000,
        failures=run.failures,
    )


def _percentile(ordered: list[float], percent: int) -> float:
    """By nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0


class _Run:
    """What the connections share."""

    def __init__(self, requests: Iterator[bytes], until: float, *, steady: bool) -> None:
        self.requests = requests
        self.until = until
        self.steady = steady
        self.latencies: list[float] = []
        self.failures = 0

    def begin_anew(self, seconds: float) -> float:
        """Forget what was counted; it is for so long from now, which is returned."""
        now = time.perf_counter()
        self.until = now + seconds
        self.latencies.clear()
        self.failures = 0
        return now


class _Client(asyncio.Protocol):
    """One connection; `done` when it has nothing more to ask."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._sent = 0.0
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
        self._run.failures += failed
        if not (failed and self._run.steady):
            self._run.latencies.append(time.perf_counter() - self._sent)
        self._received = b""
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
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
