"""Scan the service's locked dependencies for CVEs.

Exit status: 0 none is known, 1 some are known, 3 no vulnerability database is reachable. pip-audit
reports a package that its database does not know as safe, and a mirror may know no packages.
Therefore a database counts only if it knows all packages.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_BACKEND = Path(__file__).resolve().parents[1]
_SERVICES = ("pypi", "osv")
_SECONDS = 300
FOUND, UNKNOWN = 1, 3


def main() -> int:
    """Query one database after the other, and use the first that knows all packages."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        subprocess.run(  # noqa: S603 - uv, as the tasks run it
            [
                *("uv", "export", "--quiet", "--locked", "--no-dev", "--no-emit-project"),
                *("--directory", str(_BACKEND), "--output-file", str(requirements)),
            ],
            check=True,
        )
        for service in _SERVICES:
            packages = _asked(service, requirements)
            if packages and not any("skip_reason" in each for each in packages):
                return _told(packages)
    sys.stderr.write("not audited: no vulnerability database answers and knows all packages\n")
    return UNKNOWN


def _asked(service: str, requirements: Path) -> list[dict[str, Any]]:
    command = ["-r", str(requirements), "--require-hashes", "--disable-pip", "--format", "json"]
    answer = subprocess.run(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, *command],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    try:
        found: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []
    return found


def _told(packages: list[dict[str, Any]]) -> int:
    known = [(each, advisory) for each in packages for advisory in each["vulns"]]
    for each, advisory in known:
        fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
        sys.stdout.write(f"{each['name']} {each['version']}: {advisory['id']}, fixed in {fixed}\n")
    sys.stdout.write(f"{len(packages)} packages, {len(known)} known vulnerabilities\n")
    return FOUND if known else 0


if __name__ == "__main__":
    sys.exit(main())
