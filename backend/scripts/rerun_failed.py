"""Run each failed test once more, alone, after a run of pytest with `--failures FILE`.

A test that passes the second time is flaky: its name and both outputs are printed, and it counts as
passed. Exit status: 0 if all of them pass, 1 if one fails again or the run failed for another
reason. The tests are not repeated if more than ten failed, a module cannot be imported, the run was
cut off, or it left processes or files behind.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MOST = 10
_TESTS_FAILED = 1


def main() -> int:
    """Read the file and run each of its tests in a separate process."""
    parser = argparse.ArgumentParser(description="Run failed tests once more, each alone.")
    parser.add_argument("failures", type=Path, help="the file of pytest's option --failures")
    path = parser.parse_args().failures
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return _refuse(f"pytest ended early: {path}: {error}")
    if reason := _reason_to_refuse(found):
        return _refuse(reason)
    # Run all of them, so that one log names every broken test.
    return max(_run_again(name, first) for name, first in found["tests"].items())


def _reason_to_refuse(found: dict[str, Any]) -> str | None:
    """Return why the failed tests must not run again, or None if they may."""
    reasons = {
        f"these modules cannot be imported: {', '.join(found['modules'])}": found["modules"],
        f"pytest was cut off, with exit status {found['status']}": found["status"] != _TESTS_FAILED,
        f"the run has left behind: {', '.join(found['left_behind'])}": found["left_behind"],
        "pytest failed, but no test did: see its last lines": not found["tests"],
        f"{len(found['tests'])} tests failed, and at most {MOST} are repeated": (
            len(found["tests"]) > MOST
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _run_again(name: str, first: str) -> int:
    # The options in PYTEST_ADDOPTS are meant for the first run only.
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    second = subprocess.run(  # noqa: S603 - our own interpreter and a test's name
        [sys.executable, "-m", "pytest", "-n", "0", name],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    verdict = "FAILED AGAIN" if second.returncode else "FLAKY"
    parts = [f"{verdict} {name}", "--- the first run:", first, "--- alone:", second.stdout]
    sys.stdout.write("\n".join(parts) + "\n")
    sys.stdout.flush()
    return 1 if second.returncode else 0


def _refuse(reason: str) -> int:
    sys.stdout.write(f"no test is repeated: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
