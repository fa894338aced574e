"""The variables that a process of a test inherits, whatever else its environment has."""

import os

# Programs, the run's temporary folder, and coverage.py's settings for subprocesses.
_NAMES = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")


def inherited() -> dict[str, str]:
    """Return those of the variables that are set."""
    return {name: os.environ[name] for name in _NAMES if name in os.environ}
