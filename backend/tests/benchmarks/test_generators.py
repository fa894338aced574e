"""Both load generators, against a server that fails on request."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from benchmarks.api.client import BuiltIn, suited
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request, ask
from benchmarks.api.load import Generator, Load
from benchmarks.api.wrk import Wrk, parsed

MEASUREMENT = (
    "measured requests=1200 microseconds=2000000 p50=10500 p99=42000"
    " connect=1 read=2 write=3 timeout=4 status=5"
)
WRK_OUTPUT = f"""Running 2s test @ http://127.0.0.1:8000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    10.91ms    4.81ms  61.36ms   88.94%
  1200 requests in 2.00s, 11.61MB read
Requests/sec:    600.00
{MEASUREMENT}
"""


class TestWrkOutput:
    @pytest.mark.unit
    def test_measurement_line_is_parsed(self) -> None:
        load = parsed(WRK_OUTPUT)

        assert load == Load(requests=1200, seconds=2.0, p50_ms=10.5, p99_ms=42.0, failures=15)

    @pytest.mark.unit
    @pytest.mark.parametrize(
        "output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n"]
    )
    def test_missing_measurement_line_raises(self, output: str) -> None:
        with pytest.raises(BenchmarkError, match="did not say what it measured"):
            parsed(output)


GENERATORS = [
    pytest.param(BuiltIn(), id="built-in"),
    pytest.param(
        Wrk(shutil.which("wrk") or "wrk"),
        id="wrk",
        marks=pytest.mark.skipif(
            shutil.which("wrk") is None and "REQUIRE_WRK" not in os.environ,
            reason="wrk is missing: apt-get install wrk",
        ),
    ),
]


class FakeServer:
    """A server that answers with the status in the path and hangs up for /0.

    A 503 has a `Retry-After` of three seconds.
    """

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, bytes]] = Counter()
        self.loop = asyncio.new_event_loop()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in asked.splitlines()
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                path = asked.split(b" ")[1].decode()
                self.seen[path, body] += 1
                if path == "/0":
                    return
                content = b"" if path == "/304" else b"[1]"
                retry = "Retry-After: 3\r\n" if path == "/503" else ""
                head = f"HTTP/1.1 {path[1:]} X\r\n{retry}Content-Length: {len(content)}\r\n\r\n"
                writer.write(head.encode())
                await asyncio.sleep(0)  # send the head and the body in separate packets
                writer.write(content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @contextmanager
    def running(self) -> Iterator["FakeServer"]:
        async def start() -> asyncio.Server:
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            return server

        server = self.loop.run_until_complete(start())
        thread = Thread(target=self.loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.stop(server), self.loop).result()
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join()
            self.loop.close()

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


class TestRequest:
    @pytest.mark.unit
    def test_raw_body_length_is_in_bytes(self) -> None:
        request = Request("POST", "/deals?a=b", (("Content-Type", "text/plain"),), "é".encode())

        assert request.raw() == (
            b"POST /deals?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 2\r\n\r\n\xc3\xa9"
        )

    @pytest.mark.integration
    def test_ask_returns_status_headers_and_body(self, server: FakeServer) -> None:
        answer = ask(server.port, Request("POST", "/201", (("X-A", "b"),), b"body"))

        assert (answer.status, answer.body) == (201, b"[1]")
        assert answer.headers["content-length"] == "3"
        assert server.seen["/201", b"body"] == 1


class TestGenerators:
    @pytest.mark.unit
    def test_slow_requests_use_built_in_generator(self) -> None:
        wrk = Wrk("wrk")
        slow, quick = (Load(10, 1.0, p50_ms, 500.0, 0) for p50_ms in (101.0, 99.0))

        assert suited(wrk, quick, 1.0) is wrk
        assert isinstance(suited(wrk, slow, 1.0), BuiltIn)

    @pytest.mark.integration
    @pytest.mark.parametrize("generator", GENERATORS)
    def test_requests_are_sent_in_turn_and_counted(
        self, generator: Generator, server: FakeServer
    ) -> None:
        requests = [
            Request("GET", "/200"),
            Request("GET", "/304"),
            Request("POST", "/201", (), b"x"),
        ]

        load = generator.run(server.port, requests, connections=3, seconds=0.2)

        first, second, third = (
            server.seen[key] for key in (("/200", b""), ("/304", b""), ("/201", b"x"))
        )
        assert max(first, second, third) - min(first, second, third) <= 3
        # wrk does not count the requests in flight at the end.
        assert 0 <= first + second + third - load.requests <= 3
        assert load.requests > 3
        assert load.failures == 0
        assert 0 < load.p50_ms <= load.p99_ms
        assert load.seconds >= 0.2

    @pytest.mark.integration
    @pytest.mark.parametrize("generator", GENERATORS)
    def test_error_status_counts_as_failure(self, generator: Generator, server: FakeServer) -> None:
        requests = [Request("GET", "/200"), Request("GET", "/503")]

        load = generator.run(server.port, requests, connections=1, seconds=0.2)

        assert load.failures == pytest.approx(load.requests / 2, abs=1)

    @pytest.mark.integration
    @pytest.mark.parametrize("patient", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_load_shedding_is_counted_or_waited_for(
        self, server: FakeServer, *, patient: bool
    ) -> None:
        client = BuiltIn(steady=True, patient=patient)

        load = client.run(server.port, [Request("GET", "/503")], connections=2, seconds=1)

        # Each patient connection sends one request before the count starts, and then waits.
        assert (server.seen["/503", b""] == 2) == patient
        assert (load.failures > 0) != patient
        assert (load.requests, load.seconds, load.p99_ms) == (0, 1, 0.0)
        assert (load.refused_ms > 0) != patient

    @pytest.mark.integration
    def test_closed_connection_counts_as_failure(self, server: FakeServer) -> None:
        load = BuiltIn().run(server.port, [Request("GET", "/0")], connections=2, seconds=30)

        assert load.requests == 0
        assert load.failures >= 2
