"""Run one test many times under load, and report how often it failed.

Exit status: 0 if it never failed, 1 if it failed, 2 if the name does not match exactly one test or
pytest itself fails.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LOOP = "while True: pass"
# The time in seconds that pytest may take to end after an interruption.
_ENDING = 60


def main() -> int:
    """Find the test, and run it beside busy loops."""
    parser = argparse.ArgumentParser(description="Run one test many times under load.")
    parser.add_argument("name", help="a node id, or an expression for pytest -k")
    parser.add_argument("--times", type=int, default=100, help="runs (100)")
    parser.add_argument("--loops", type=int, default=3, help="busy loops beside them (3)")
    parser.add_argument("--minutes", type=float, default=30, help="time limit of all runs (30)")
    given = parser.parse_args()
    found = _collect(given.name)
    if len(found) != 1:
        some = "".join(f"\n  {name}" for name in found[:20])
        sys.stderr.write(f"{given.name!r} matches {len(found)} tests instead of one{some}\n")
        return 2
    with _busy(given.loops), tempfile.TemporaryDirectory() as folder:
        failures = Path(folder) / "failures.json"
        output, in_time = _repeat(found[0], given.times, given.minutes * 60, failures)
        if failures.exists():
            return _report(found[0], given.times, json.loads(failures.read_text()))
        if not in_time:
            # Interrupted before the first run.
            return _report(found[0], given.times, {"passed": 0, "tests": {}})
        sys.stderr.write(f"{output}\npytest ended early\n")
        return 2


def _collect(name: str) -> list[str]:
    """Return the node ids of the tests that match a name."""
    path = name.partition("::")[0]
    chosen = [name] if Path(path).exists() else ["-k", name]
    listed = subprocess.run(  # noqa: S603 - our own interpreter and a test's name
        [*_pytest(), "--collect-only", "-q", "-m", "slow or not slow", *chosen],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in listed.stdout.splitlines() if "::" in line]


def _pytest() -> list[str]:
    return [sys.executable, "-m", "pytest", "-n", "0"]


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """Run busy loops inside the block."""
    loops = [
        subprocess.Popen([sys.executable, "-c", _LOOP])  # noqa: S603 - our own interpreter
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _repeat(name: str, times: int, seconds: float, failures: Path) -> tuple[str, bool]:
    """Run the test repeatedly, and interrupt pytest after the time limit.

    Returns:
        pytest's output, and whether it ended in time.
    """
    options = ["-q", "--repeat", name, "--times", str(times), "--failures", str(failures)]
    function = name.partition("[")[0]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and a test's name
        [*_pytest(), *options, function],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        try:
            return run.communicate(timeout=seconds)[0], True
        except subprocess.TimeoutExpired:
            # pytest tears down its fixtures and writes its results so far.
            run.send_signal(signal.SIGINT)
            try:
                return run.communicate(timeout=_ENDING)[0], False
            except subprocess.TimeoutExpired:
                # The test has caught the signal, so pytest goes on.
                run.kill()
                return run.communicate()[0], False


def _report(name: str, times: int, found: dict[str, Any]) -> int:
    failed: dict[str, str] = found["tests"]
    total = found["passed"] + len(failed)
    sys.stdout.write(f"{name}: {len(failed)} of {total} runs failed\n")
    if total < times:
        sys.stdout.write(f"{times - total} more did not run within the time limit\n")
    for first in list(failed)[:1]:
        sys.stdout.write(f"--- the first failure, {first}\n{failed[first]}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
