"""The environment variables that processes of the tests inherit."""

import os

# For programs, the run's temporary folder, and coverage.py in subprocesses.
_NAMES = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")


def inherited() -> dict[str, str]:
    """Return those of the variables that are set."""
    return {name: os.environ[name] for name in _NAMES if name in os.environ}
