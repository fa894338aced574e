"""Lint the committed OpenAPI document, and refuse undeclared breaking changes.

Redocly CLI does both. The script installs it at the locked version if it is missing.
`npm/redocly.yaml` has the lint rules. A breaking change is one that Redocly rates "major" between
`released.json`, the document of the last release, and today's document. `breaking.toml` beside it
declares the intended ones with reasons. After a release, run
`uv run python scripts/lint_api.py --release`.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BACKEND = Path(__file__).parents[1]
NPM = BACKEND / "npm"
REDOCLY = NPM / "node_modules" / ".bin" / "redocly"
CONTRACT = BACKEND / "tests" / "contract"
DOCUMENT = CONTRACT / "openapi.json"
RELEASED = CONTRACT / "released.json"
BREAKING = CONTRACT / "breaking.toml"

# Turns off Redocly's telemetry and notices.
_QUIET = {
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "REDOCLY_SUPPRESS_NOTIFICATIONS": "true",
}
# Texts, which break no client. They would mislead Redocly's search for renamed objects.
_PROSE = {"description", "summary", "title", "example", "examples"}
# Objects whose keys are names chosen by the API, not keywords of OpenAPI.
_NAMED = {"properties", "schemas", "headers", "responses", "parameters", "content", "links"}

Document = dict[str, Any]


def install() -> None:
    """Install the locked npm packages, unless they are installed."""
    lock, installed = NPM / "package-lock.json", NPM / "node_modules" / ".package-lock.json"
    if REDOCLY.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NPM, check=True)  # noqa: S607 - wherever it is installed


def redocly(command: str, *arguments: str | Path) -> Document:
    """Run Redocly and return its report.

    Raises:
        RuntimeError: Redocly failed without a report.
    """
    result = subprocess.run(  # noqa: S603 - the installed tool, on our own files
        [REDOCLY, command, *arguments, "--config", NPM / "redocly.yaml", "--format=json"],
        env={**os.environ, **_QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: Document = json.loads(result.stdout)
    except json.JSONDecodeError:
        raise RuntimeError(f"redocly {command}: {result.stderr}") from None
    return report


def lint(document: Path) -> Iterator[str]:
    """Yield the problems of a document, both errors and warnings."""
    report = redocly("lint", document, "--max-problems=1000")
    for problem in report["problems"]:
        place = problem["location"][0].get("pointer", "#")
        yield f"{place}: {problem['message']} ({problem['ruleId']})"


def breaking_changes(released: Document, document: Document) -> list[str]:
    """Return the breaking changes between two documents, sorted and without duplicates."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("released.json", "openapi.json")]
        for file, each in zip(files, (released, document), strict=True):
            file.write_text(json.dumps(_without_prose(each)))
        report = redocly("diff", *files, "--fail-on=none")
    return sorted(
        {
            f"{_place(change['path'], verdict['message'])}"
            for change in report["changes"]
            for verdict in change["verdicts"]
            if verdict["impact"] == "major"
        }
    )


def _without_prose(value: Any, *, named: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_prose(each, named=name in _NAMED and not named)
            for name, each in value.items()
            if named or name not in _PROSE
        }
    return [_without_prose(each) for each in value] if isinstance(value, list) else value


def _place(pointer: str, message: str) -> str:
    """Describe a change without list indices, which other changes shift."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if parts[0] == "paths":
        methods = [part.upper() for part in parts[2:3]]
        parts = [" ".join([*methods, parts[1]]), *parts[3:]]
    first, *rest = (
        part
        for before, part in zip(["", *parts], parts, strict=False)
        if before == "responses" or not part.isdigit()
    )
    return f"{first}: {message}" + (f" ({'/'.join(rest)})" if rest else "")


def unstated(found: list[str], accepted: dict[str, str], versions: tuple[str, str]) -> list[str]:
    """Return the problems of the breaking changes: missing reasons, and a wrong version."""
    problems = [
        f"breaks clients, and breaking.toml does not say why: {each}"
        for each in found
        if each not in accepted
    ]
    problems += [
        f"breaking.toml has what is no breaking change: {each}"
        for each in accepted
        if each not in found
    ]
    problems += [
        f"breaking.toml has no reason for: {each}"
        for each, why in accepted.items()
        if not why.strip()
    ]
    if found and not _may_break(*versions):
        problems.append(
            f"breaks clients, and version {versions[1]} after {versions[0]} does not say so"
        )
    return problems


def _may_break(released: str, version: str) -> bool:
    """Return whether semantic versioning allows breaking changes between two versions.

    They need a higher major version or, below 1.0.0, a higher minor version.
    """
    before, now = ([int(part) for part in each.split(".")] for each in (released, version))
    said = 2 if before[0] == 0 else 1
    return now[:said] > before[:said]


def _read(file: Path) -> Document:
    document: Document = json.loads(file.read_text())
    return document


def _release() -> None:
    """Make today's document the released one, and remove the declared breaking changes."""
    RELEASED.write_text(DOCUMENT.read_text())
    comments = [line for line in BREAKING.read_text().splitlines() if line.startswith("#")]
    BREAKING.write_text("\n".join(comments) + "\n")


def main() -> int:
    """Print the problems, and return 0 if there are none."""
    if sys.argv[1:] == ["--release"]:
        _release()
        return 0
    install()
    released, document = _read(RELEASED), _read(DOCUMENT)
    entries = tomllib.loads(BREAKING.read_text()).get("accepted", [])
    problems = [
        *lint(DOCUMENT),
        *unstated(
            breaking_changes(released, document),
            {entry["change"]: entry["reason"] for entry in entries},
            (released["info"]["version"], document["info"]["version"]),
        ),
    ]
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
