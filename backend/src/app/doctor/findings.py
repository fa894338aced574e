"""What the doctor says: one thing each, with the numbers and what to do about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Severity = Literal["problem", "warning", "unknown", "fine"]
# The first is what to begin with.
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "unknown", "fine")

Evidence = str | int | float | bool | datetime | None
Facts = dict[str, Evidence]

# Of one kind of finding so many are reported; the rest is a number.
MAX_FINDINGS = 10


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, may become so, could not be looked at, or is fine.

    `evidence` is by name: names ending in `bytes` and `seconds` are in those units, `ratio` is of
    1. `remedy` can be pasted: what begins with `deals`, or another command, into a shell, anything
    else into psql. `advice` is a sentence.
    """

    check: str
    severity: Severity
    title: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    advice: str = ""
    remedy: str = ""


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; of the same severity in the order of the checks."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def bounded(findings: Sequence[Finding]) -> list[Finding]:
    """The worst `MAX_FINDINGS` of one kind, and how many more there are."""
    ordered = by_severity(findings)
    if len(ordered) <= MAX_FINDINGS:
        return ordered
    left = ordered[MAX_FINDINGS:]
    return [
        *ordered[:MAX_FINDINGS],
        Finding(left[0].check, left[0].severity, f"{len(left)} more of the kind"),
    ]


def findings_or_ok(check: str, findings: Sequence[Finding], title: str) -> list[Finding]:
    """The findings, bounded, or one that says that all is well."""
    return bounded(findings) or [Finding(check, "fine", title)]


def size(value: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if abs(value) < 1024:  # noqa: PLR2004 - what the units are made of
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"
