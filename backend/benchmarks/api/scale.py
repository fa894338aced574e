"""Measure the latency of reads at growing numbers of deals.

Each size has a separate database, generated and loaded as by a user. Every total in an answer is
compared with a count of the rows. 5,000,000 deals take some minutes.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from app.embedded.server import EmbeddedServer
from benchmarks.api import cli, docs, machine
from benchmarks.api.charts import line_chart
from benchmarks.api.client import BuiltIn, suited
from benchmarks.api.database import Database, filled, postgres
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.facts import Facts, learn
from benchmarks.api.http import Request, ask
from benchmarks.api.load import Generator, Load
from benchmarks.api.report import markdown, number
from benchmarks.api.scenarios import SCENARIOS, Scenario
from benchmarks.api.servers import Server, servers

_PICTURE = "performance-scale.svg"
_COMMAND = "mise run bench:scale"
_WARM_UP_SECONDS = 0.5
# The bytes of the file, of the tables with their indexes, and of the load's other writes.
_BYTES_PER_DEAL = 1000
_BYTES_OF_POSTGRES = 1_500_000_000
_READS = [scenario for scenario in SCENARIOS if not scenario.writes]
_STATISTICS = """
    SELECT city, round(avg(price_per_night), 2)::text, count(*)
    FROM deals JOIN hotels ON hotels.id = hotel_id
    GROUP BY city ORDER BY count(*) DESC, city COLLATE "C"
"""


@dataclass(frozen=True)
class Point:
    """The figures of one scenario at one size, as medians of the turns."""

    name: str
    title: str
    deals: int
    p50_ms: float
    p99_ms: float
    requests_per_second: float
    failures: int


def main() -> int:
    """Run the benchmark. Return 1 if a total is wrong or a request fails."""
    arguments = _arguments()
    largest = max(arguments.sizes)
    with postgres(lambda folder: _require_space(folder, largest)) as (server, folder):
        return _run(arguments, server, folder)


def _arguments() -> argparse.Namespace:
    made = cli.parser(_COMMAND, __doc__)
    cli.add_output(made)
    made.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[50_000, 500_000, 5_000_000],
        help="how many deals, one run each (default 50000 500000 5000000)",
    )
    cli.add_scenarios(made, (scenario.name for scenario in _READS))
    cli.add_turns(made, rounds=3, seconds=2.0, of="of each scenario")
    made.add_argument(
        "--connections", type=int, default=4, help="clients at a time (default %(default)s)"
    )
    return made.parse_args()


def _require_space(folder: Path, deals: int) -> None:
    """Print the disk space that a run needs.

    Raises:
        BenchmarkError: the disk has less free space.
    """
    needed = _BYTES_OF_POSTGRES + deals * _BYTES_PER_DEAL
    free = shutil.disk_usage(folder).free
    said = (
        f"{deals:,} deals take about {needed / 1e9:.0f} GB in {folder}, {free / 1e9:.0f} are free"
    )
    if free < needed:
        raise BenchmarkError(f"{said}; set TMPDIR to use another disk")
    cli.say(said)


def _run(arguments: argparse.Namespace, server: EmbeddedServer, folder: Path) -> int:
    load = cli.generator(arguments.client)
    points: list[Point] = []
    wrong: list[str] = []
    about: dict[str, Any] = {}
    for size in sorted(set(arguments.sizes)):
        cli.say(f"loading {size:,} deals")
        with (
            filled(server, folder, size) as database,
            servers(["service"], database, dict(arguments.setting)) as running,
        ):
            about = machine.about(database, load.name, arguments.setting)
            found, problems = _at_size(arguments, load, database, running["service"])
        points += found
        wrong += problems
    return _report(arguments, about, points, wrong)


def _at_size(
    arguments: argparse.Namespace, load: Generator, database: Database, server: Server
) -> tuple[list[Point], list[str]]:
    facts = learn(database, server.port)
    points, wrong = [], []
    for scenario in _READS:
        if arguments.scenario and scenario.name not in arguments.scenario:
            continue
        requests = scenario.requests_to("service", facts, 0)
        wrong += wrong_totals(
            scenario, json.loads(ask(server.port, requests[0]).body or "null"), database
        )
        turns = _turns(arguments, load, server, requests)
        points.append(_point(scenario, facts, turns))
        cli.say(f"{points[-1].deals:,} deals, {points[-1].title}: {number(points[-1].p50_ms)} ms")
    return points, wrong


def _turns(
    arguments: argparse.Namespace, load: Generator, server: Server, requests: list[Request]
) -> list[Load]:
    """Measure the turns of one scenario after a warm-up."""

    def turn(generator: Generator, seconds: float) -> Load:
        return generator.run(
            server.port, requests, connections=arguments.connections, seconds=seconds
        )

    warm_up = turn(BuiltIn(), min(_WARM_UP_SECONDS, arguments.seconds))
    chosen = suited(load, warm_up, arguments.seconds)
    return [turn(chosen, arguments.seconds) for _ in range(arguments.rounds)]


def wrong_totals(scenario: Scenario, answer: Any, database: Database) -> list[str]:
    """Return the totals of an answer that differ from a count of the rows."""
    if scenario.name == "stats":
        shown = [(city["city"], city["avg_price"], city["deal_count"]) for city in answer]
        counted = [tuple(row) for row in database.rows(_STATISTICS)]
        return [] if shown == counted else [f"statistics: {shown} is not {counted}"]
    if not scenario.total:
        return []
    counted = database.rows(scenario.total)[0][0]
    if answer["total"] == counted:
        return []
    return [f"{scenario.name}: the total is {answer['total']}, and there are {counted}"]


def _point(scenario: Scenario, facts: Facts, turns: Sequence[Load]) -> Point:
    return Point(
        scenario.name,
        scenario.title.format(facts=facts),
        facts.deals,
        median(turn.p50_ms for turn in turns),
        median(turn.p99_ms for turn in turns),
        median(turn.requests / turn.seconds for turn in turns),
        sum(turn.failures for turn in turns),
    )


def _report(
    arguments: argparse.Namespace, about: Mapping[str, Any], points: list[Point], wrong: list[str]
) -> int:
    print(table(points))
    print(f"\n{docs.provenance(about, _COMMAND)}")
    print("totals against a count of the rows:", "; ".join(wrong) or "all the same")
    failures = sum(point.failures for point in points)
    if failures:
        print(f"{failures} requests failed")
    if arguments.json:
        everything = {**about, "points": [asdict(point) for point in points], "wrong": wrong}
        cli.write_json(arguments.json, everything)
    if arguments.write_docs:
        image = f"![p50 against the number of deals]({_PICTURE})"
        text = "\n\n".join([docs.provenance(about, _COMMAND), image, table(points)])
        docs.write("scale", text, {_PICTURE: picture(points)})
    return int(bool(wrong) or bool(failures))


def table(points: Sequence[Point]) -> str:
    """Return a table of p50 at each size, and the ratio of the largest to the smallest size."""
    sizes = sorted({point.deals for point in points})
    rows = []
    for line in _lines(points).values():
        ratio = line[-1].p50_ms / line[0].p50_ms
        rows.append([_title(line), *(number(point.p50_ms) for point in line), number(ratio)])
    header = ["p50 in ms", *(f"{size:,} deals" for size in sizes), "grows by"]
    return markdown(header, rows)


def _title(line: Sequence[Point]) -> str:
    """Return a scenario's title. If it contains the number of deals, show the range."""
    first, last = line[0].title, line[-1].title
    return first if first == last else f"{first} … {last.split()[-1]}"


def _lines(points: Sequence[Point]) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for point in points:
        lines.setdefault(point.name, []).append(point)
    return lines


def picture(points: Sequence[Point]) -> str:
    """Draw a line for each scenario."""
    lines = {
        _title(line): [(float(point.deals), point.p50_ms) for point in line]
        for line in _lines(points).values()
    }
    description = "; ".join(
        f"{title} {', '.join(f'{ms:.3g} ms at {deals:,.0f}' for deals, ms in line)}"
        for title, line in lines.items()
    )
    axes = ("deals in the table", "p50 in ms")
    return line_chart("What a client waits for, by the number of deals", description, axes, lines)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
