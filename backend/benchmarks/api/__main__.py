"""Compare the service over HTTP with hand-written servers.

The benchmark loads generated deals into an embedded PostgreSQL and starts three servers on it: the
service by `deals serve`, the floor (bare ASGI and asyncpg with the same SQL by hand), and a naive
server (ORM objects everywhere). It compares their answers and then measures them in turns. Ratios
within a run are comparable. Absolute figures depend on the machine.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from app.embedded.server import EmbeddedServer
from benchmarks.api import cli, docs, machine
from benchmarks.api.charts import Bars, bar_chart
from benchmarks.api.database import filled, postgres
from benchmarks.api.measure import DifferentAnswersError, Measurement
from benchmarks.api.report import number, table
from benchmarks.api.results import CaseResult, as_json
from benchmarks.api.scenarios import BY_NAME, USUAL_CONNECTIONS, Case, Side, cases, in_turn
from benchmarks.api.servers import servers

_COMMAND = "mise run bench"
_PICTURE = "performance.svg"


def main() -> int:
    """Run the benchmark. Return 1 if answers differ, requests fail or --check finds a miss."""
    arguments = _arguments()
    with postgres() as (server, folder):
        return _run(arguments, server, folder)


def _arguments() -> argparse.Namespace:
    made = cli.parser(_COMMAND, __doc__)
    cli.add_output(made)
    cli.add_rows(made)
    cli.add_turns(made, rounds=5, seconds=1.0, of="of each server")
    made.add_argument("--quick", action="store_true", help="one turn of each")
    cli.add_scenarios(made, BY_NAME)
    for name, what in (
        ("connections", "instead of the usual 16, and 128 for two scenarios"),
        ("workers", "instead of the usual 1, and 2 for one scenario"),
    ):
        made.add_argument(f"--{name}", type=int, nargs="+", default=[], help=what)
    made.add_argument("--check", action="store_true", help="exit with 1 when an aim is missed")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.rounds = 1
    return arguments


def _run(arguments: argparse.Namespace, server: EmbeddedServer, folder: Path) -> int:
    load = cli.generator(arguments.client)
    cli.say(f"loading {arguments.rows:,} deals; load by {load.name}")
    with filled(server, folder, arguments.rows) as database:
        measurement = Measurement(database, load, arguments.rounds, arguments.seconds)
        chosen = cases(arguments.scenario, arguments.connections, arguments.workers)
        results: dict[Case, CaseResult] = {}
        different: list[str] = []
        for case, found in _measured(measurement, in_turn(chosen), dict(arguments.setting)):
            if isinstance(found, DifferentAnswersError):
                cli.say(f"NOT MEASURED {found}")
                different.append(str(found))
            else:
                cli.say(_progress(found))
                results[case] = found
        about = machine.about(database, load.name, arguments.setting)
    found_results = [results[case] for case in chosen if case in results]
    return _report(arguments, about, found_results, different)


def _measured(
    measurement: Measurement, chosen: Sequence[Case], settings: Mapping[str, str]
) -> Iterator[tuple[Case, CaseResult | DifferentAnswersError]]:
    """Measure each case, and start new servers only if the number of workers changes."""
    for workers, group in groupby(chosen, key=lambda case: case.workers):
        together = {case: _sides(case) for case in group}
        wanted = max(together.values(), key=len)
        options = ["--workers", str(workers)]
        with servers(wanted, measurement.database, settings, options=options) as running:
            used = [
                (case, {side: running[side] for side in sides}) for case, sides in together.items()
            ]
            costs = {}
            with measurement.database.logging_statements():
                for case, asked in used:
                    try:
                        costs[case] = measurement.compare(case, asked)
                    except DifferentAnswersError as error:
                        yield case, error
            for case, asked in used:
                if case in costs:
                    yield case, measurement.measure(case, asked, costs[case])


def _sides(case: Case) -> list[Side]:
    """Return the servers of a case. The slow naive server runs in the usual cases only."""
    usual = (case.connections, case.workers) == (USUAL_CONNECTIONS, 1)
    naive: list[Side] = ["naive"] if case.scenario.naive and usual else []
    return ["service", "floor", *naive]


def _progress(result: CaseResult) -> str:
    rates = ", ".join(
        f"{side} {number(found.median('requests_per_second'))}/s"
        for side, found in result.sides.items()
    )
    ratio = result.ratio("service", "floor")
    return f"{result.label}: {rates}; {number(ratio)} of the floor"


def _report(
    arguments: argparse.Namespace,
    about: dict[str, Any],
    results: list[CaseResult],
    different: list[str],
) -> int:
    misses = [miss for result in results for miss in result.misses()]
    print(table(results))
    print(f"\n{docs.provenance(about, _COMMAND)}")
    for miss in misses:
        print(f"MISSED {miss}")
    options = {name: getattr(arguments, name) for name in ("rows", "rounds", "seconds")}
    if arguments.json:
        about |= {"options": options, "different": different}
        cli.write_json(arguments.json, as_json(about, results))
    if arguments.write_docs:
        text = "\n\n".join([docs.provenance(about, _COMMAND), _embedded(), table(results)])
        docs.write("http", text, {_PICTURE: picture(results)})
    failed = any(found.failures for result in results for found in result.sides.values())
    return int(bool(different) or failed or (arguments.check and bool(misses)))


def _embedded() -> str:
    return f"![Requests a second of the service and of a naive one, the floor being 1]({_PICTURE})"


def picture(results: Sequence[CaseResult]) -> str:
    """Draw the requests per second of each case, relative to the floor's."""
    series: tuple[Side, ...] = ("service", "naive")
    groups = []
    for result in results:
        ratios = {side: result.ratio(side, "floor") for side in series}
        rates = [result.sides[side].median("requests_per_second") for side in ("service", "floor")]
        groups.append(
            Bars(
                result.label,
                {side: ratio for side, ratio in ratios.items() if ratio is not None},
                " : ".join(number(rate) for rate in rates),
                result.least.get("floor"),
            )
        )
    description = "; ".join(
        f"{group.label} {', '.join(f'{s} {v:.2f}' for s, v in group.values.items())}"
        for group in groups
    )
    title = "Requests a second, the floor's being 1; dashes are what is aimed at"
    axes = ("the floor", "service : floor, requests/s")
    return bar_chart(title, description, axes, series, groups)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
