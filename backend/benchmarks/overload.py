"""Measure the admitted requests under ten times as many clients as one process admits.

Each client sends its next request after the answer. After a refusal, patient clients wait as long
as Retry-After says, and impatient ones retry immediately.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.api import cli, docs, machine
from benchmarks.api.client import BuiltIn
from benchmarks.api.database import filled, postgres
from benchmarks.api.http import Request
from benchmarks.api.load import Load
from benchmarks.api.servers import servers

_COMMAND = "mise run bench:overload"
# The limit of one process (MAX_REQUESTS_IN_PROGRESS).
_CAPACITY = 128
_TIMES = 10
_PAGES = [Request("GET", f"/deals?skip={skip}") for skip in range(0, 200, 20)]
# The required share of the usual throughput, and the allowed ratio to the usual p99.
_LEAST_THROUGHPUT = 0.85
_MOST_DELAY = 3.0


@dataclass(frozen=True)
class _Crowd:
    """A number of clients, which are patient or impatient after a refusal."""

    clients: int
    patient: bool
    title: str


_USUAL = _Crowd(_CAPACITY, patient=False, title="")
_CROWDS = (
    _USUAL,
    _Crowd(_CAPACITY * _TIMES, patient=True, title="when told"),
    _Crowd(_CAPACITY * _TIMES, patient=False, title="at once"),
)
_Found = dict[_Crowd, list[Load]]


def main() -> int:
    """Measure all crowds in turns. With --check, return 1 if a limit is exceeded."""
    arguments = _arguments()
    with postgres() as (server, folder), filled(server, folder, arguments.rows) as database:
        with servers(["service"], database, {}) as running:
            found = _measured(running["service"].port, arguments.rounds, arguments.seconds)
        about = machine.about(database, BuiltIn.name, ())
    print(table := _table(found))
    if arguments.json:
        kept = [{**asdict(crowd), "loads": [*map(asdict, some)]} for crowd, some in found.items()]
        cli.write_json(arguments.json, {**about, "crowds": kept})
    if arguments.write_docs:
        docs.write("overload", f"{docs.provenance(about, _COMMAND)}\n\n{table}", {})
    return int(arguments.check and not all(_holds(found, crowd) for crowd in _CROWDS))


def _measured(port: int, rounds: int, seconds: float) -> _Found:
    found: _Found = {crowd: [] for crowd in _CROWDS}
    BuiltIn().run(port, _PAGES, connections=16, seconds=seconds)
    for number in range(rounds):
        for crowd, loads in found.items():
            client = BuiltIn(steady=True, patient=crowd.patient)
            loads.append(client.run(port, _PAGES, connections=crowd.clients, seconds=seconds))
        cli.say(f"round {number + 1} of {rounds}")
    return found


def _arguments() -> argparse.Namespace:
    made = cli.bare_parser(_COMMAND, __doc__)
    cli.add_output(made)
    cli.add_rows(made)
    cli.add_turns(made, rounds=12, seconds=3.0, of="of each crowd")
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


def _ratios(found: _Found, crowd: _Crowd) -> tuple[float, float]:
    """Return the ratios of throughput and p99 to the usual load, as medians over the rounds."""
    pairs = list(zip(found[crowd], found[_USUAL], strict=True))
    return (
        statistics.median(mine.requests / usual.requests for mine, usual in pairs),
        statistics.median(mine.p99_ms / usual.p99_ms for mine, usual in pairs),
    )


def _holds(found: _Found, crowd: _Crowd) -> bool:
    throughput, delay = _ratios(found, crowd)
    return throughput >= _LEAST_THROUGHPUT and delay <= _MOST_DELAY


def _table(found: _Found) -> str:
    lines = [
        "| clients | come again | answered/s | p50 | p99 | refused/s | p99 | all answered first |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for crowd, loads in found.items():
        throughput, delay = _ratios(found, crowd)
        refused = statistics.median(load.failures / load.seconds for load in loads)
        refused_ms = statistics.median(load.refused_ms for load in loads)
        settled = statistics.median(load.settled_seconds for load in loads)
        p50 = statistics.median(load.p50_ms for load in loads)
        lines.append(
            f"| {crowd.clients} | {crowd.title} "
            f"| {_throughput(loads):.0f}{_of_usual(crowd, throughput)} | {p50:.0f} ms "
            f"| {_p99(loads):.0f} ms{_of_usual(crowd, delay)} "
            f"| {refused:.0f} | {f'{refused_ms:.0f} ms' if refused else ''} | {settled:.1f} s |"
        )
    return "\n".join(lines)


def _of_usual(crowd: _Crowd, ratio: float) -> str:
    return "" if crowd is _USUAL else f" ({ratio:.2f} ×)"


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
