"""Measure exports of many deals: rows per second, memory, and the latency of other requests.

    mise run bench:export [--rows 500000] [--most 50]

The service runs as an operator starts it, on an embedded PostgreSQL with its default settings. One
client reads each export at full speed. Another client requests pages of deals all the time, so that
its slowest answer shows every delay.
"""

import argparse
import http.client
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from benchmarks.api import cli, processes
from benchmarks.api.database import filled, postgres
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.servers import Server, servers

_FORMATS = {"CSV": "text/csv", "NDJSON": "application/x-ndjson"}
_ENCODINGS = ("identity", "gzip")
_BLOCK = 256 * 1024
# The number of blocks between two samples of the memory.
_LOOK = 16
_MEGABYTE = 1e6
_PAUSE = 0.01


@dataclass
class Measured:
    """The figures of one export."""

    received: int
    seconds: float
    first_byte: float
    highest: int


def main() -> int:
    """Run the benchmark. Return 1 if the server's memory grows by more than allowed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--most", type=float, default=50.0, help="MB that memory may grow by")
    arguments = parser.parse_args()
    with (
        postgres() as (cluster, folder),
        filled(cluster, folder, arguments.rows) as database,
        servers(["service"], database, {}) as running,
    ):
        growth = _compare(running["service"], arguments.rows)
    print(f"memory grew by {growth / _MEGABYTE:+.1f} MB at most")
    return int(growth > arguments.most * _MEGABYTE)


def _compare(server: Server, rows: int) -> int:
    """Print a line for each format and encoding, and return the largest growth in bytes."""
    _export(server, "text/csv", "gzip", "?hotel_id=1")
    before = processes.resident_bytes(server.pid)
    growth = 0
    print(f"{rows:,} deals, the service with {before / _MEGABYTE:.0f} MB")
    for (name, media_type), encoding in product(_FORMATS.items(), _ENCODINGS):
        with _requests(server) as waits:
            found = _export(server, media_type, encoding)
        grown = found.highest - before
        growth = max(growth, grown)
        print(
            f"{name:7}{encoding:9}{found.seconds:7.1f} s {rows / found.seconds:9,.0f} rows/s"
            f"{found.received / _MEGABYTE:9.1f} MB, the first after {found.first_byte * 1e3:.0f} ms"
            f"; memory {grown / _MEGABYTE:+.1f} MB; a page meanwhile: median"
            f" {sorted(waits)[len(waits) // 2] * 1e3:.1f} ms, slowest {max(waits) * 1e3:.1f} ms"
        )
    return growth


def _export(server: Server, media_type: str, encoding: str, query: str = "") -> Measured:
    """Read one export, and return its figures."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Accept": media_type, "Accept-Encoding": encoding}
    started = time.perf_counter()
    connection.request("GET", f"/deals/export{query}", headers=headers)
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise BenchmarkError(f"the export is answered {response.status}")
    received, blocks, highest = 0, 0, 0
    first_byte = time.perf_counter() - started
    while block := response.read(_BLOCK):
        received += len(block)
        if blocks % _LOOK == 0:
            highest = max(highest, processes.resident_bytes(server.pid))
        blocks += 1
    seconds = time.perf_counter() - started
    connection.close()
    return Measured(received, seconds, first_byte, highest)


@contextmanager
def _requests(server: Server) -> Iterator[list[float]]:
    """Send requests one after the other inside the block, and yield the list of latencies."""
    waits: list[float] = []
    done = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        while not done.is_set():
            started = time.perf_counter()
            connection.request("GET", "/deals?limit=1&count=none")
            connection.getresponse().read()
            waits.append(time.perf_counter() - started)
            done.wait(_PAUSE)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
