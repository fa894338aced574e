"""Measure imports of uploaded files, and the latency of requests beside them.

    mise run bench:imports [-- --quick] [--kills 20]

The API and a worker run as separate processes on an embedded PostgreSQL with default settings.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from app.db.migrations import upgrade
from app.embedded.server import EmbeddedServer
from app.ingestion.generator import generate
from benchmarks import uploading
from benchmarks.api import cli, docs, machine, processes
from benchmarks.api.client import BuiltIn
from benchmarks.api.database import Database, postgres
from benchmarks.api.http import Request, ask
from benchmarks.api.load import Generator
from benchmarks.api.report import markdown
from benchmarks.api.servers import Server, servers

_COMMAND = "mise run bench:imports"
_MEGABYTE = 1e6
_CONNECTIONS = (4, 16)
_TURN_SECONDS = 3.0
_SEED = 20261121
# A short heartbeat, so that killed workers are soon replaced.
_KILLS = {"WORKER_HEARTBEAT": "0.5"}

Row = tuple[str, str, str]


def main() -> int:
    """Run the benchmark. With --check, return 1 if a target is missed."""
    arguments = _arguments()
    with postgres() as (server, folder), _database(server, folder) as database:
        return _run(arguments, database, folder)


def _arguments() -> argparse.Namespace:
    made = cli.parser(_COMMAND, __doc__)
    cli.add_output(made)
    made.add_argument("--rows", type=int, default=50_000, help="rows of the timed file")
    made.add_argument("--large", type=int, default=500_000, help="rows of the concurrent import")
    made.add_argument("--runs", type=int, default=5, help="runs of each timed operation")
    made.add_argument("--mb", type=int, default=700, help="size of the upload that tests memory")
    made.add_argument("--kills", type=int, default=0, help="worker kills during the large import")
    made.add_argument("--quick", action="store_true", help="smaller sizes, for a first impression")
    made.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    found = made.parse_args()
    if found.quick:
        found.rows, found.large, found.runs, found.mb = 10_000, 60_000, 3, 100
    return found


@contextmanager
def _database(server: EmbeddedServer, folder: Path) -> Iterator[Database]:
    outside = Database(server, "postgres", folder)
    outside.run("CREATE DATABASE imports")
    outside.close()
    database = Database(server, "imports", folder)
    upgrade(database.url)
    try:
        yield database
    finally:
        database.close()


def _run(arguments: argparse.Namespace, database: Database, folder: Path) -> int:
    load = cli.generator(arguments.client)
    settings = dict(arguments.setting)
    small, large = folder / "small.csv", folder / "large.csv"
    generate(small, rows=arguments.rows)
    generate(large, rows=arguments.large)
    with servers(["service"], database, settings) as running:
        api = running["service"]
        about = machine.about(database, load.name, arguments.setting)
        found: dict[str, Any] = {"load_average": os.getloadavg()[0]}
        found["memory"] = measure_memory(api, arguments.mb)
        with uploading.worker(database, settings):
            uploading.wait_for_worker(database)
            found["times"] = measure_times(api, database, small, arguments.runs)
            found["reads"] = measure_reads(api, database, large, load)
        if arguments.kills:
            found["kills"] = kill_workers(api, database, large, arguments.kills)
    rows = _report(found, arguments)
    table = markdown(("", "measured", "aim"), rows)
    print(table)
    if arguments.json:
        cli.write_json(arguments.json, {**about, **found})
    if arguments.write_docs:
        docs.write("imports", f"{docs.provenance(about, _COMMAND)}\n\n{table}", {})
    return int(arguments.check and not _aims_are_met(found))


def measure_memory(api: Server, megabytes: int) -> dict[str, float]:
    """Return the largest growth of the server's memory during an upload, in MB."""
    blocks = [os.urandom(1 << 20) for _ in range(8)]
    _cancel(api, uploading.upload(api.port, iter(blocks), len(blocks) << 20))
    before = processes.resident_bytes(api.pid)
    sizes = [before]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            sizes.append(processes.resident_bytes(api.pid))

    watching = threading.Thread(target=watch)
    watching.start()
    count = megabytes * 1_000_000 >> 20
    done = uploading.upload(api.port, (blocks[n % 8] for n in range(count)), count << 20)
    over.set()
    watching.join()
    _cancel(api, done)
    cli.say(f"memory: {(max(sizes) - before) / _MEGABYTE:+.1f} MB")
    return {
        "growth_mb": (max(sizes) - before) / _MEGABYTE,
        "from_mb": before / _MEGABYTE,
        "mb_per_second": (count << 20) / _MEGABYTE / (done.answered - done.sent),
    }


def _cancel(api: Server, done: uploading.Upload) -> None:
    ask(api.port, Request("DELETE", done.made["links"]["self"]))


def measure_times(api: Server, database: Database, path: Path, runs: int) -> dict[str, list[float]]:
    """Time uploads and loads of the same file in turns, each into empty tables."""
    times: dict[str, list[float]] = {"load": [], "post": [], "first_progress": [], "import": []}
    for _ in range(runs):
        uploading.empty(database)
        times["load"].append(uploading.load(database, path))
        uploading.empty(database)
        done = uploading.upload_file(api.port, path)
        progress = uploading.first_progress(api.port, done.made)
        uploading.wait(api.port, done.made)
        times["import"].append(time.monotonic() - done.sent)
        times["post"].append(done.answered - done.sent)
        times["first_progress"].append(progress - done.answered)
        cli.say(", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items()))
    return times


def measure_reads(
    api: Server, database: Database, path: Path, load: Generator
) -> dict[str, dict[str, list[float]]]:
    """Return the p99 of `GET /deals` in ms by connections, alone and beside a running import."""
    waiting = BuiltIn() if load.name == BuiltIn.name else load
    requests = [Request("GET", "/deals")]
    p99: dict[str, dict[str, list[float]]] = {
        kind: {str(n): [] for n in _CONNECTIONS} for kind in ("alone", "beside")
    }

    def turn(kind: str) -> None:
        for n in _CONNECTIONS:
            found = waiting.run(api.port, requests, connections=n, seconds=_TURN_SECONDS)
            p99[kind][str(n)].append(found.p99_ms)
            cli.say(
                f"{kind}: {n} connections, p99 {found.p99_ms:.0f} ms, {found.failures} failures"
            )

    for _ in range(2):
        turn("alone")
    uploading.empty(database)
    done = uploading.upload_file(api.port, path)
    # Wait for the first rows, so that the reads find some.
    uploading.wait_for_rows(api.port, done.made, 1)
    while uploading.look(api.port, done.made)["state"] == "running":
        turn("beside")
    uploading.wait(api.port, done.made)
    # The last turn beside the import ran partly without it.
    return p99


def kill_workers(api: Server, database: Database, path: Path, kills: int) -> dict[str, Any]:
    """Compare an import whose workers are killed with an undisturbed one."""
    uploading.empty(database)
    uploading.load(database, path)
    expected = uploading.checksum(database)
    uploading.empty(database)
    chance = random.Random(_SEED)  # noqa: S311 - which moments is no secret
    started = time.monotonic()
    done = uploading.upload_file(api.port, path)
    reached = []
    for number in range(kills):
        with uploading.worker(database, _KILLS) as worker:
            before = uploading.look(api.port, done.made)["rows_read"]
            least = max(expected[0] * (number + 1) // (kills + 1), before + 1)
            uploading.wait_for_rows(api.port, done.made, least)
            time.sleep(chance.uniform(0, 0.5))
            worker.kill()
            worker.wait()
        reached.append(uploading.look(api.port, done.made)["rows_read"])
        cli.say(f"kill {number + 1} at {reached[-1]:,} rows")
    with uploading.worker(database, _KILLS):
        last = uploading.wait(api.port, done.made)
    chunks = database.rows(
        "SELECT count(*), count(DISTINCT number), max(number) FROM import_chunks"
    )
    return {
        "kills": kills,
        "same": uploading.checksum(database) == expected,
        "counted": last["inserted"] == expected[0],
        "each_chunk_once": chunks[0][0] == chunks[0][1] == chunks[0][2] + 1,
        "rows": expected[0],
        "reached": reached,
        "seconds": time.monotonic() - started,
    }


def _aims_are_met(found: dict[str, Any]) -> bool:
    times = {name: median(seconds) for name, seconds in found["times"].items()}
    kills = found.get("kills", {"same": True, "counted": True, "each_chunk_once": True})
    beside = found["reads"]["beside"].values()
    return all(
        (
            times["import"] <= 1.5 * times["load"] + 2,
            times["first_progress"] < 1,
            all(median(p99) < 200 for p99 in beside if p99),  # noqa: PLR2004 - the aim, in ms
            found["memory"]["growth_mb"] < 50,  # noqa: PLR2004 - the aim
            kills["same"] and kills["counted"] and kills["each_chunk_once"],
        )
    )


def _report(found: dict[str, Any], arguments: argparse.Namespace) -> list[Row]:
    times = {name: median(seconds) for name, seconds in found["times"].items()}
    reads, memory = found["reads"], found["memory"]
    rows = [
        (f"`deals load`, {arguments.rows:,} rows", f"{times['load']:.2f} s", ""),
        (
            "the same uploaded, from `POST` to `succeeded`",
            f"{times['import']:.2f} s",
            f"≤ {1.5 * times['load'] + 2:.2f} s",
        ),
        ("of that until `POST` is answered", f"{times['post']:.2f} s", ""),
        ("from there to the first rows in an event", f"{times['first_progress']:.2f} s", "< 1 s"),
    ]
    for n in map(str, _CONNECTIONS):
        beside = reads["beside"][n]
        rows.append(
            (
                f"p99 of `GET /deals` beside {arguments.large:,} rows, {n} connections",
                f"{median(beside):.0f} ms (alone {median(reads['alone'][n]):.0f})"
                if beside
                else "–",
                "< 200 ms",
            )
        )
    rows.append(
        (
            f"server's memory during an upload of {arguments.mb} MB",
            f"{memory['growth_mb']:+.0f} MB",
            "< 50 MB",
        )
    )
    if kills := found.get("kills"):
        same = kills["same"] and kills["counted"] and kills["each_chunk_once"]
        said = "the same rows and counters" if same else "NOT the same"
        rows.append(
            (f"worker killed {kills['kills']} times in {kills['rows']:,} rows", said, "same")
        )
    return rows


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
