"""Measure the cost of metrics, logs and limits: compare the service with one without them.

Both serve the first page in many short turns, because the cost is smaller than the variation
between turns.
"""

import argparse
import sys
from dataclasses import replace

from benchmarks.api import cli, docs, machine
from benchmarks.api.database import filled, postgres
from benchmarks.api.measure import Measurement
from benchmarks.api.report import table
from benchmarks.api.results import CaseResult, as_json
from benchmarks.api.scenarios import BY_NAME, USUAL_CONNECTIONS, Case
from benchmarks.api.servers import servers

_COMMAND = "mise run bench:overhead"
# The minimum share of the throughput without metrics, logs and limits.
_LEAST = 0.95


def main() -> int:
    """Measure both servers in turns. With --check, return 1 if the cost is too high."""
    arguments = _arguments()
    load = cli.generator(arguments.client)
    with postgres() as (server, folder), filled(server, folder, arguments.rows) as database:
        measurement = Measurement(database, load, arguments.rounds, arguments.seconds)
        result = _measured(measurement, dict(arguments.setting))
        about = machine.about(database, load.name, arguments.setting)
    print(found := table([result]))
    for miss in result.misses():
        cli.say(f"MISSED {miss}")
    if arguments.json:
        cli.write_json(arguments.json, as_json(about, [result]))
    if arguments.write_docs:
        docs.write("overhead", f"{docs.provenance(about, _COMMAND)}\n\n{found}", {})
    failures = any(side.failures for side in result.sides.values())
    return int(failures or (arguments.check and bool(result.misses())))


def _arguments() -> argparse.Namespace:
    made = cli.parser(_COMMAND, __doc__)
    cli.add_output(made)
    cli.add_rows(made)
    cli.add_turns(made, rounds=40, seconds=1.0, of="of each server")
    made.add_argument(
        "--check", action="store_true", help=f"exit with 1 below {_LEAST} of the throughput"
    )
    return made.parse_args()


def _measured(measurement: Measurement, settings: dict[str, str]) -> CaseResult:
    scenario = replace(BY_NAME["first-page"], least={"unwatched": _LEAST})
    case = Case(scenario, USUAL_CONNECTIONS)
    with servers(["service", "unwatched"], measurement.database, settings) as running:
        with measurement.database.logging_statements():
            costs = measurement.compare(case, running)
        return measurement.measure(case, running, costs)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
