"""Output of `deals doctor`: text for people, worst finding first, and JSON for scripts."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from rich.text import Text

from app.cli import console
from app.doctor.catalog_rows import Session
from app.doctor.connection import Target
from app.doctor.findings import SEVERITIES, Evidence, Finding, Severity, duration, size
from app.doctor.rules.sessions import described

_STYLES = {"problem": "bold red", "warning": "yellow", "unknown": "magenta", "fine": "green"}
_IDENTIFIERS = {"pid", "import"}
_INDENT = " " * 9


@dataclass(frozen=True)
class Report:
    """All findings of a run of `deals doctor`. `status` is the worst severity."""

    database: Target
    looked_at: datetime
    status: Severity
    counts: Mapping[Severity, int]
    findings: Sequence[Finding]

    @classmethod
    def of(cls, target: Target, findings: Sequence[Finding]) -> Self:
        """Create a report at the current time. `findings` must be sorted, worst first."""
        counted = Counter(finding.severity for finding in findings)
        counts = {severity: counted[severity] for severity in SEVERITIES}
        return cls(target, datetime.now(UTC), findings[0].severity, counts, findings)


def write_json(report: Report) -> None:
    """Print the report as one JSON object, with times in ISO 8601."""
    as_json = json.dumps(dataclasses.asdict(report), default=_as_text, indent=2)
    sys.stdout.write(f"{as_json}\n")


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_report(report: Report) -> None:
    """Print a paragraph for each finding, or one line if its severity is `fine`."""
    for finding in report.findings:
        line = Text(f"{finding.severity:<8} ", style=_STYLES[finding.severity])
        line.append(_plain(f"{finding.check}: {finding.title}"), style="default")
        console.stdout.print(line)
        if finding.severity != "fine":
            _print_rest(finding)
    counts = ", ".join(f"{count} {severity}" for severity, count in report.counts.items() if count)
    console.stdout.print(counts, markup=False)


def _print_rest(finding: Finding) -> None:
    if finding.evidence:
        shown = (
            f"{_plain(name)}: {_shown(name, value)}" for name, value in finding.evidence.items()
        )
        console.stdout.print(Text(f"{_INDENT}{'; '.join(shown)}", style="dim"))
    if finding.advice:
        console.stdout.print(Text(f"{_INDENT}{_plain(finding.advice)}"))
    if finding.remedy:
        console.stdout.print(Text(f"{_INDENT}> {_plain(finding.remedy)}", style="bold"))


def print_session(session: Session) -> None:
    """Print the session that `deals doctor --kill` is about to end."""
    for name, value in described(session).items():
        console.stdout.print(Text(f"{name}: {_shown(name, value)}"))


def _shown(name: str, value: Evidence) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(name, value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return "not known" if value is None else _plain(str(value))


def _number(name: str, value: float) -> str:
    if name.endswith("bytes"):
        return size(value)
    if name.endswith("seconds"):
        return duration(value)
    if name.endswith("ratio"):
        return f"{value:.1%}"
    return str(value) if name in _IDENTIFIERS else f"{value:,}"


def _plain(text: str) -> str:
    """Return the text on one line, without control characters.

    Names and SQL statements in a finding are untrusted and can contain terminal escape sequences.
    """
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
