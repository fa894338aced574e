"""The doctor's findings, each with its evidence and a remedy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Severity = Literal["problem", "warning", "unknown", "fine"]
# In descending order of urgency.
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "unknown", "fine")

Evidence = str | int | float | bool | datetime | None
Facts = dict[str, Evidence]

# The number of findings of one kind that are reported. The others are only counted.
MAX_FINDINGS = 10


@dataclass(frozen=True)
class Finding:
    """The result of a check: a problem, a warning, an unknown state, or a good state.

    `evidence` maps names to values. Names that end in `bytes` or `seconds` have these units, and a
    `ratio` is a fraction of 1. `advice` consists of sentences. `remedy` can be pasted: `deals` and
    other commands into a shell, and SQL into psql.
    """

    check: str
    severity: Severity
    title: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    advice: str = ""
    remedy: str = ""


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by severity, the worst first, and keep the order within a severity."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def bounded(findings: Sequence[Finding]) -> list[Finding]:
    """Return the worst `MAX_FINDINGS` of one kind, and a finding that counts the others."""
    ordered = by_severity(findings)
    if len(ordered) <= MAX_FINDINGS:
        return ordered
    left = ordered[MAX_FINDINGS:]
    return [
        *ordered[:MAX_FINDINGS],
        Finding(left[0].check, left[0].severity, f"{len(left)} more findings of this kind"),
    ]


def findings_or_ok(check: str, findings: Sequence[Finding], title: str) -> list[Finding]:
    """Return the bounded findings or, without any, one with the severity fine."""
    return bounded(findings) or [Finding(check, "fine", title)]


def size(value: float) -> str:
    """Format a number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if abs(value) < 1024:  # noqa: PLR2004 - what the units are made of
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """Format a duration in seconds."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"
