"""Measure the lines and branches that the tests cover, and the quick tier's share of them.

Arguments go to pytest. The measurement includes processes that tests start. Exit status: 0 if the
share is at least 0.85, 1 if it is less or a test fails.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST = 0.85
_TIERS = {"quick": "not slow", "slow": "slow"}


def main() -> int:
    """Run both tiers and compare their totals."""
    with tempfile.TemporaryDirectory() as folder:
        data = {tier: Path(folder) / tier for tier in _TIERS}
        failed = [tier for tier, marks in _TIERS.items() if not _run(data[tier], marks)]
        if failed:
            sys.stdout.write(f"tests have failed: {', '.join(failed)}\n")
            return 1
        quick = _covered(data["quick"])
        both = _covered(*data.values())
    return _report(quick, both)


def _run(data: Path, marks: str) -> bool:
    """Run a tier, and return whether it passed or has none of the chosen tests."""
    options = ["-m", "pytest", "-n", "auto", "-m", marks, *sys.argv[1:]]
    environment = {**os.environ, "COVERAGE_FILE": str(data)}
    command = [sys.executable, "-m", "coverage", "run", *options]
    status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    return status in {0, 5}


def _covered(*data: Path) -> tuple[int, int]:
    """Return the number of covered lines and branches, and the number of all."""
    files = [str(part) for each in data for part in each.parent.glob(f"{each.name}*")]
    combined = data[0].with_name("combined-" + "-".join(each.name for each in data))
    report = combined.with_suffix(".json")
    for command, *arguments in (["combine", "--keep", *files], ["json", "-o", str(report)]):
        options = [command, "-q", f"--data-file={combined}", *arguments]
        subprocess.run([sys.executable, "-m", "coverage", *options], check=True)  # noqa: S603
    totals = json.loads(report.read_text())["totals"]
    return (
        totals["covered_lines"] + totals["covered_branches"],
        totals["num_statements"] + totals["num_branches"],
    )


def _report(quick: tuple[int, int], both: tuple[int, int]) -> int:
    share = quick[0] / both[0]
    sys.stdout.write(
        f"quick tier: {quick[0]} of {quick[1]} lines and branches\n"
        f"all tests: {both[0]} of {both[1]} lines and branches\n"
        f"the quick tier covers {share:.3f} of what all tests cover; {LEAST} are expected\n"
    )
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
