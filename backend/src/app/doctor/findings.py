"""The doctor's findings, with evidence, advice and remedies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Severity = Literal["problem", "warning", "unknown", "fine"]
# All severities, the most urgent first.
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "unknown", "fine")

Evidence = str | int | float | bool | datetime | None
Facts = dict[str, Evidence]

# The maximum number of reported findings of one kind. Further findings are only counted.
MAX_FINDINGS = 10


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    `evidence` maps names to values. The names of sizes and durations end in their unit, `bytes` or
    `seconds`. Ratios lie between 0 and 1. `remedy` is a shell command, or SQL for psql.
    """

    check: str
    severity: Severity
    title: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    advice: str = ""
    remedy: str = ""


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by severity, worst first. Equally severe findings keep their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def bounded(findings: Sequence[Finding]) -> list[Finding]:
    """Return the worst `MAX_FINDINGS` findings, and a finding that counts any others."""
    ordered = by_severity(findings)
    if len(ordered) <= MAX_FINDINGS:
        return ordered
    left = ordered[MAX_FINDINGS:]
    return [
        *ordered[:MAX_FINDINGS],
        Finding(left[0].check, left[0].severity, f"{len(left)} more findings of this kind"),
    ]


def findings_or_ok(check: str, findings: Sequence[Finding], title: str) -> list[Finding]:
    """Return `bounded(findings)`, or a `fine` finding with this title if there are no findings."""
    return bounded(findings) or [Finding(check, "fine", title)]


def size(value: float) -> str:
    """Format a size in bytes, for example as `1.5 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if abs(value) < 1024:  # noqa: PLR2004 - bytes in a kB
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """Format a duration in seconds, for example as `2.5 min`."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"
