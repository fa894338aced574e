"""The results of a benchmark and their evaluation."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.api.scenarios import USUAL_CONNECTIONS, Side

# The maximum ratio of p99 to p50.
MOST_P99 = 4


@dataclass(frozen=True)
class Turn:
    """One turn of one server. CPU time is in ms per request, or None if it is unknown."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float | None
    postgres_cpu_ms: float | None
    sessions: int
    failures: int


@dataclass(frozen=True)
class SideResult:
    """The turns of one server, the costs of one request, and the load generator."""

    turns: list[Turn]
    statements: int
    bytes: int
    load: str

    def median(self, name: str) -> float | None:
        """Return the median of a field over the turns."""
        values = [getattr(turn, name) for turn in self.turns]
        return median(values) if None not in values else None

    @property
    def failures(self) -> int:
        """Return the failures of all turns."""
        return sum(turn.failures for turn in self.turns)


@dataclass(frozen=True)
class CaseResult:
    """The results of one case. `least` maps servers to the ratios that the service must reach."""

    name: str
    title: str
    connections: int
    workers: int
    least: Mapping[Side, float]
    sides: Mapping[Side, SideResult]

    @property
    def label(self) -> str:
        """Return the title with the connections and workers that differ from the usual ones."""
        unusual = []
        if self.connections != USUAL_CONNECTIONS:
            unusual.append(f"{self.connections} connections")
        if self.workers != 1:
            unusual.append(f"{self.workers} workers")
        return ", ".join([self.title, *unusual])

    def ratio(self, one: Side, other: Side) -> float | None:
        """Return the ratio of requests per second of two servers, as median over the rounds."""
        if one not in self.sides or other not in self.sides:
            return None
        pairs = zip(self.sides[one].turns, self.sides[other].turns, strict=True)
        ratios = [
            a.requests_per_second / b.requests_per_second for a, b in pairs if b.requests_per_second
        ]
        return median(ratios) if ratios else None

    def cpu_ratio(self, one: Side, other: Side) -> float | None:
        """Return the ratio of CPU time per request of two servers, including PostgreSQL's.

        On a busy machine this ratio varies less than that of requests per second.
        """
        sums = []
        for side in (one, other):
            turns = self.sides[side].turns if side in self.sides else []
            times = [(turn.server_cpu_ms, turn.postgres_cpu_ms) for turn in turns]
            known = [a + b for a, b in times if a is not None and b is not None]
            sums.append(median(known) if known else 0.0)
        return sums[0] / sums[1] if all(sums) else None

    def misses(self) -> list[str]:
        """Return a line for each missed target."""
        found = [
            f"{self.label}: {side} had {result.failures} failures"
            for side, result in self.sides.items()
            if result.failures
        ]
        for side, least in self.least.items():
            ratio = self.ratio("service", side)
            if ratio is not None and ratio < least:
                found.append(f"{self.label}: {ratio:.2f} of the {side}, not {least:g}")
        p50, p99 = (self.sides["service"].median(name) for name in ("p50_ms", "p99_ms"))
        if self.connections == USUAL_CONNECTIONS and p50 and p99 and p99 > MOST_P99 * p50:
            found.append(f"{self.label}: p99 is {p99 / p50:.1f} times p50, not {MOST_P99}")
        return found


def as_json(about: Mapping[str, Any], results: Iterable[CaseResult]) -> dict[str, Any]:
    """Return all results as JSON-compatible values."""
    medians = tuple(Turn.__dataclass_fields__)
    return {
        **about,
        "cases": [
            {
                "name": result.name,
                "title": result.title,
                "connections": result.connections,
                "workers": result.workers,
                "ratios": {s: result.ratio("service", s) for s in result.sides if s != "service"},
                "cpu_ratios": {
                    s: result.cpu_ratio("service", s) for s in result.sides if s != "service"
                },
                "least": dict(result.least),
                "misses": result.misses(),
                "sides": {
                    name: {
                        **{field: side.median(field) for field in medians},
                        "statements": side.statements,
                        "bytes": side.bytes,
                        "load": side.load,
                        "turns": [asdict(turn) for turn in side.turns],
                    }
                    for name, side in result.sides.items()
                },
            }
            for result in results
        ],
    }
