"""The figures as Markdown tables, which are also aligned in a terminal."""

from collections.abc import Iterable, Sequence

from benchmarks.api.results import CaseResult, SideResult
from benchmarks.api.scenarios import Side

_HEADER = (
    "",
    "",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "CPU ms: server",
    "PostgreSQL",
    "SQL",
    "bytes",
    "service's rate",
    "its CPU time",
)


def table(results: Iterable[CaseResult]) -> str:
    """Return a table with a row for each server of each case, compared with the service."""
    rows: list[Sequence[str]] = []
    for result in results:
        for side, measured in result.sides.items():
            label = result.label if side == "service" else ""
            rows.append((label, side, *_figures(measured), *_ratios(result, side)))
    return markdown(_HEADER, rows, left=2)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are text, and the others numbers."""
    widths = [max(3, *(len(row[n]) for row in (header, *rows))) for n in range(len(header))]
    ruler = ["-" * w if n < left else "-" * (w - 1) + ":" for n, w in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if n < left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), f"| {' | '.join(ruler)} |", *map(line, rows)])


def number(value: float | None) -> str:
    """Format a number with about three significant digits."""
    if value is None:
        return "–"
    if value >= 100:  # noqa: PLR2004 - as many digits before the point as are meant
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - as above


def _figures(side: SideResult) -> list[str]:
    names = ("requests_per_second", "p50_ms", "p99_ms", "server_cpu_ms", "postgres_cpu_ms")
    return [
        *(number(side.median(name)) for name in names),
        f"{side.statements}",
        f"{side.bytes:,}",
    ]


def _ratios(result: CaseResult, side: Side) -> tuple[str, str]:
    ratio, cpu = result.ratio("service", side), result.cpu_ratio("service", side)
    if side == "service" or ratio is None:
        return "", ""
    least = result.least.get(side)
    aim = "" if least is None else f" (aim {least:g})"
    return f"{number(ratio)} ×{aim}", "–" if cpu is None else f"{number(cpu)} ×"
