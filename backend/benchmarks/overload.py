"""Ten times as many clients as are let in: what those that are let in notice of it.

Each client sends its next request when it has the answer, also after a refusal.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.api import docs, machine
from benchmarks.api.cli import add_output, add_rows, bare_parser, guarded, say, write_json
from benchmarks.api.client import BuiltIn
from benchmarks.api.database import filled, postgres
from benchmarks.api.http import Request
from benchmarks.api.load import Load
from benchmarks.api.servers import servers

_COMMAND = "mise run bench:overload"
# As many as one process lets in (MAX_REQUESTS_IN_PROGRESS).
_CAPACITY = 128
_TIMES = 10
_PAGES = [Request("GET", f"/deals?skip={skip}") for skip in range(0, 200, 20)]
# Of the throughput that must be left, and how much later the last hundredth may come.
_LEAST_THROUGHPUT = 0.85
_MOST_DELAY = 3.0


def main() -> int:
    """Measure both in turns; 1 with --check when too little is left."""
    arguments = _arguments()
    with postgres() as (server, folder), filled(server, folder, arguments.rows) as database:
        with servers(["service"], database, {}) as running:
            client = BuiltIn(steady=True)
            found: dict[int, list[Load]] = {_CAPACITY: [], _CAPACITY * _TIMES: []}
            client.run(running["service"].port, _PAGES, connections=16, seconds=arguments.seconds)
            for number in range(arguments.rounds):
                for connections, loads in found.items():
                    loads.append(
                        client.run(
                            running["service"].port,
                            _PAGES,
                            connections=connections,
                            seconds=arguments.seconds,
                        )
                    )
                say(f"round {number + 1} of {arguments.rounds}")
        about = machine.about(database, client.name, ())
    usual, overload = found.values()
    print(table := _table(usual, overload))
    if arguments.json:
        kept = {str(number): [asdict(load) for load in some] for number, some in found.items()}
        write_json(arguments.json, {**about, "loads": kept})
    if arguments.write_docs:
        docs.write("overload", f"{docs.provenance(about, _COMMAND)}\n\n{table}", {})
    return int(arguments.check and not _holds(usual, overload))


def _arguments() -> argparse.Namespace:
    made = bare_parser(_COMMAND, __doc__)
    add_output(made)
    add_rows(made)
    made.add_argument("--rounds", type=int, default=5, help="turns (default %(default)s)")
    made.add_argument(
        "--seconds", type=float, default=4.0, help="of each turn (default %(default)s)"
    )
    made.add_argument(
        "--check",
        action="store_true",
        help=f"exit with 1 below {_LEAST_THROUGHPUT} of the throughput, or above {_MOST_DELAY} "
        "times the p99",
    )
    return made.parse_args()


def _throughput(loads: Sequence[Load]) -> float:
    return statistics.median(load.requests / load.seconds for load in loads)


def _p99(loads: Sequence[Load]) -> float:
    return statistics.median(load.p99_ms for load in loads)


def _holds(usual: Sequence[Load], overload: Sequence[Load]) -> bool:
    throughput = _throughput(overload) / _throughput(usual)
    return throughput >= _LEAST_THROUGHPUT and _p99(overload) <= _MOST_DELAY * _p99(usual)


def _table(usual: Sequence[Load], overload: Sequence[Load]) -> str:
    lines = [
        "| clients | answered a second | p50 | p99 | refused a second |",
        f"|---:|{'---:|' * 4}",
    ]
    for connections, loads in ((_CAPACITY, usual), (_CAPACITY * _TIMES, overload)):
        refused = statistics.median(load.failures / load.seconds for load in loads)
        p50 = statistics.median(load.p50_ms for load in loads)
        lines.append(
            f"| {connections} | {_throughput(loads):.0f} | {p50:.0f} ms | {_p99(loads):.0f} ms "
            f"| {refused:.0f} |"
        )
    throughput = _throughput(overload) / _throughput(usual)
    lines.append(f"| ratio | {throughput:.2f} | | {_p99(overload) / _p99(usual):.2f} | |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(guarded(main))
