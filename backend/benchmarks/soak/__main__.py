"""Run clients of all kinds for a long time, with a fault every minute, and check the results.

At the end, every write that was answered 2xx must be stored, and none that was answered 4xx. No
request may take longer than its deadline, no connection may be left over, and the memory must not
grow.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from app.ingestion.generator import generate
from benchmarks.api import cli, docs, machine, processes
from benchmarks.api.database import Database, filled, postgres
from benchmarks.api.servers import Server, servers
from benchmarks.soak.clients import FIRST_ID, Client, Seen, Uploader
from benchmarks.soak.faults import Faults, small_disk
from benchmarks.soak.ledger import Ledger

_COMMAND = "mise run soak"
_CLIENTS = 8
_MEGABYTE = 1e6
_MOST_GROWTH = 30.0
# The connections of an idle service: those of the API's pools, its listener and the worker.
_MOST_CONNECTIONS = 25
# The time in seconds that imports may take after the last fault.
_SETTLE_SECONDS = 120.0
# The share of the samples before the one that is the baseline of the memory's growth.
_WARM_UP = 0.2


@dataclass
class Outcome:
    """The results of a soak test."""

    seen: Seen = field(default_factory=Seen)
    ledger: Ledger = field(default_factory=Ledger)
    faults: Counter[str] = field(default_factory=Counter)
    imports: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    connections: int = 0
    broken: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Add each violated promise to `broken`."""
        self.broken += [f"late: {line}" for line in self.seen.late]
        under_way = self.imports["queued"] + self.imports["running"] + self.imports["unknown"]
        if under_way or not self.imports["succeeded"]:
            self.broken.append(f"imports: {dict(self.imports)}")
        if self.connections > _MOST_CONNECTIONS:
            self.broken.append(f"{self.connections} connections are left")
        if self.memory and self.growth > _MOST_GROWTH:
            self.broken.append(f"the server has grown by {self.growth:.0f} MB")
        if not self.ledger.confirmed or not self.ledger.refused:
            self.broken.append("nothing was written, or nothing refused")

    @property
    def growth(self) -> float:
        """Return the growth of the memory since the warm-up, in MB."""
        start = self.memory[int(len(self.memory) * _WARM_UP)]
        return self.memory[-1] - start


def main() -> int:
    """Run the soak test and print the report. Return 1 if a promise was broken."""
    arguments = _arguments()
    with (
        postgres() as (server, folder),
        small_disk(folder / "uploads") as disk,
        filled(server, folder, arguments.rows) as database,
        servers(["service"], database, {}, options=["--with-worker"]) as running,
    ):
        content = _files(folder)
        outcome = asyncio.run(_soak(arguments, database, running["service"], _Means(disk, content)))
        # A fault has restarted the server, so the old connection is closed.
        database.close()
        about = machine.about(database, f"{_CLIENTS} clients", ())
    outcome.judge()
    report = _report(arguments, outcome)
    print(report)
    if arguments.json:
        cli.write_json(arguments.json, {**about, "report": report, "broken": outcome.broken})
    if arguments.write_docs:
        docs.write("soak", f"{docs.provenance(about, _COMMAND)}\n\n{report}", {})
    return int(bool(outcome.broken))


def _arguments() -> argparse.Namespace:
    made = cli.bare_parser(_COMMAND, __doc__)
    cli.add_output(made)
    cli.add_rows(made)
    made.add_argument("--minutes", type=float, default=20.0, help="(default %(default)s)")
    made.add_argument(
        "--every", type=float, default=60.0, help="seconds between faults (default %(default)s)"
    )
    return made.parse_args()


@dataclass(frozen=True)
class _Means:
    """The disk to fill, if there is one, and the files to upload."""

    disk: Path | None
    files: list[bytes]


def _files(folder: Path) -> list[bytes]:
    found = []
    for seed in range(3):
        file = folder / f"upload-{seed}.csv"
        generate(file, rows=Uploader.ROWS, seed=seed)
        found.append(file.read_bytes())
    return found


async def _soak(
    arguments: argparse.Namespace, database: Database, server: Server, means: _Means
) -> Outcome:
    outcome = Outcome()
    dsn = database.url.replace("+asyncpg", "")
    stop = asyncio.Event()
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=20)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", limits=limits) as http:
        clients = [Client(http, n, outcome.seen, outcome.ledger) for n in range(_CLIENTS)]
        uploader = Uploader(http, means.files)
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            group.create_task(uploader.run(stop))
            group.create_task(_measure(server, outcome, stop))
            await _disturb(arguments, Faults(dsn, server.pid, means.disk), outcome)
            stop.set()
        outcome.imports = await uploader.states(_SETTLE_SECONDS)
    outcome.connections = await _left_over(dsn)
    outcome.broken += outcome.ledger.contradictions(await _stored(dsn))
    return outcome


async def _disturb(arguments: argparse.Namespace, faults: Faults, outcome: Outcome) -> None:
    """Cause a fault at regular intervals, each kind in turn, and stop well before the end."""
    ends = time.monotonic() + arguments.minutes * 60
    kinds: Sequence[tuple[str, Callable[[], Any]]] = faults.all()
    number = 0
    while time.monotonic() + 2 * arguments.every < ends:
        await asyncio.sleep(arguments.every)
        name, make = kinds[number % len(kinds)]
        number += 1
        cli.say(f"{name}: {outcome.ledger.confirmed:,} writes confirmed so far")
        # A fault may fail because of the previous one, which is no error of the service.
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await make()
            outcome.faults[name] += 1
    await asyncio.sleep(max(0.0, ends - time.monotonic()))


async def _measure(server: Server, outcome: Outcome, stop: asyncio.Event) -> None:
    while not stop.is_set():
        outcome.memory.append(processes.resident_bytes(server.pid) / _MEGABYTE)
        await asyncio.sleep(1.0)


async def _stored(dsn: str) -> dict[int, str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT external_id, price_per_night FROM deals WHERE external_id >= $1", FIRST_ID
        )
    finally:
        await connection.close()
    return {row["external_id"]: str(row["price_per_night"]) for row in rows}


async def _left_over(dsn: str) -> int:
    """Count the connections to the database. One idle in a transaction counts as 1000 more."""
    connection = await asyncpg.connect(dsn)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) + 1000 * count(*) FILTER (WHERE state LIKE 'idle in transaction%') "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
    return count


def _report(arguments: argparse.Namespace, outcome: Outcome) -> str:
    seen, ledger = outcome.seen, outcome.ledger
    answers = ", ".join(f"{count:,} {name}" for name, count in sorted(seen.statuses.items()))
    slowest = ", ".join(f"{name} {s:.1f} s" for name, s in sorted(seen.slowest.items()))
    faults = ", ".join(f"{name} {count}×" for name, count in outcome.faults.items())
    unsure = (
        f"{ledger.unsure:,} without an answer that says which; "
        f"{len(ledger.states):,} deals compared"
    )
    lines = [
        f"{arguments.minutes:g} minutes, a fault every {arguments.every:g} seconds: {faults}",
        f"Answers: {answers}; the slowest: {slowest}",
        f"Writes: {ledger.confirmed:,} confirmed, {ledger.refused:,} refused, {unsure}",
        f"Imports: {', '.join(f'{count} {state}' for state, count in outcome.imports.items())}",
        f"Left: {outcome.connections} connections; memory {outcome.growth:+.1f} MB",
        f"Promises broken: {len(outcome.broken)}",
        *outcome.broken[:20],
    ]
    return "\n".join(f"* {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
