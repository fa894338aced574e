"""Measure the growth of the server's memory over many requests of all kinds.

A warm-up comes first, so that permanent caches of statements and code do not look like a leak.
"""

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from app.embedded.server import EmbeddedServer
from benchmarks.api import cli, docs, machine, processes
from benchmarks.api.database import filled, postgres
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.facts import Facts, learn
from benchmarks.api.http import Request
from benchmarks.api.load import Generator
from benchmarks.api.scenarios import BY_NAME, USUAL_CONNECTIONS
from benchmarks.api.servers import Server, last_words, servers

_COMMAND = "mise run bench:memory"
_DIFFERENT = 4000
_STEPS = 10
_SEED = 20261120
_MEGABYTE = 1e6
# The allowed number of turns without any answer, because the machine may be busy.
_PATIENCE = 10

_FILTERS = (
    "city=berlin",
    "country=france",
    "min_stars=3.9",
    "price_min=100&price_max=300",
    "category=luxury",
    "category=beach&category=family",
    "room_type=suite",
    "available_only=true",
    "min_discount=40",
    "q=grand",
)
_SORTS = ("id", "price_per_night", "-discount_percent", "-checkin_date", "created_at")
# The weight of each kind of request.
_KINDS = {"list": 50, "deal": 25, "not-modified": 5, "hotels": 8, "stats": 5, "post": 4, "patch": 3}


def main() -> int:
    """Run the benchmark. Return 1 if requests fail or --check finds too much growth."""
    arguments = _arguments()
    if not processes.AVAILABLE:
        raise BenchmarkError("this system has no /proc with the memory of processes")
    with postgres() as (server, folder):
        return _run(arguments, server, folder)


def _arguments() -> argparse.Namespace:
    made = cli.parser(_COMMAND, __doc__)
    cli.add_output(made)
    cli.add_rows(made)
    made.add_argument(
        "--requests", type=int, default=200_000, help="how many, at least (default %(default)s)"
    )
    made.add_argument(
        "--warm-up", type=int, default=20_000, help="how many before (default %(default)s)"
    )
    made.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="between two looks, at least (default %(default)s)",
    )
    made.add_argument(
        "--most", type=float, default=10.0, help="MB that --check allows (default %(default)s)"
    )
    made.add_argument("--check", action="store_true", help="exit with 1 when it grows by more")
    return made.parse_args()


def _run(arguments: argparse.Namespace, server: EmbeddedServer, folder: Path) -> int:
    load = cli.generator(arguments.client)
    with (
        filled(server, folder, arguments.rows) as database,
        servers(["service"], database, dict(arguments.setting)) as running,
    ):
        about = machine.about(database, load.name, arguments.setting)
        facts = learn(database, running["service"].port)
        requests = mixed(facts, random.Random(_SEED))  # noqa: S311 - a mix
        sending = _Sending(load, running["service"], requests, arguments.seconds)
        sending.send(arguments.warm_up)
        sizes = [(0, sending.size())]
        before = sending.sent
        while sizes[-1][0] < arguments.requests:
            sending.send(arguments.requests // _STEPS)
            sizes.append((sending.sent - before, sending.size()))
            cli.say(f"{sizes[-1][0]:>9,} requests: {sizes[-1][1] / _MEGABYTE:.1f} MB")
    growth = (sizes[-1][1] - sizes[0][1]) / _MEGABYTE
    result = (
        f"{growth:+.1f} MB after {sizes[-1][0]:,} requests of all kinds that followed a warm-up of "
        f"{before:,}: from {sizes[0][1] / _MEGABYTE:.1f} MB to "
        f"{sizes[-1][1] / _MEGABYTE:.1f} MB; {sending.failed} failed"
    )
    print(result)
    if arguments.json:
        cli.write_json(arguments.json, {**about, "sizes": sizes, "failed": sending.failed})
    if arguments.write_docs:
        docs.write("memory", f"{docs.provenance(about, _COMMAND)}\n\n{result}.", {})
    return int(bool(sending.failed) or (arguments.check and growth > arguments.most))


@dataclass
class _Sending:
    """The requests sent so far."""

    load: Generator
    service: Server
    requests: list[Request]
    seconds: float
    sent: int = 0
    failed: int = 0
    silent: int = 0

    def send(self, least: int) -> None:
        """Send at least so many requests."""
        until = self.sent + least
        while self.sent < until:
            found = self.load.run(
                self.service.port,
                self.requests,
                connections=USUAL_CONNECTIONS,
                seconds=self.seconds,
            )
            self.silent = 0 if found.requests else self.silent + 1
            if self.silent == _PATIENCE:
                raise BenchmarkError(f"the service answers nothing: {last_words(self.service.log)}")
            self.sent += found.requests
            self.failed += found.failures

    def size(self) -> int:
        """Return the resident memory of the server in bytes."""
        return processes.resident_bytes(self.service.pid)


def mixed(facts: Facts, chance: random.Random) -> list[Request]:
    """Return random requests of all kinds, with different queries of the list."""
    kinds = chance.choices(list(_KINDS), weights=list(_KINDS.values()), k=_DIFFERENT)
    pools = {
        kind: BY_NAME[kind].requests_to("service", facts, 0) for kind in _KINDS if kind != "list"
    }
    return [_list(chance) if kind == "list" else chance.choice(pools[kind]) for kind in kinds]


def _list(chance: random.Random) -> Request:
    filters = chance.sample(_FILTERS, chance.randint(0, 3))
    if sum(part.startswith("category") for part in filters) > 1:
        filters = filters[:1]
    page = [f"sort={chance.choice(_SORTS)}", f"limit={chance.randint(1, 50)}"]
    page.append(f"skip={chance.choice((0, 0, 20, 200))}")
    return Request("GET", f"/deals?{'&'.join([*filters, *page])}")


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
