"""Python processes on a folder with tests of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.operations.files import BACKEND


def run_python(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder, without the options and plugins of the outer test run."""
    unwanted = ("PYTEST_", "COVERAGE_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={
            **environment,
            "PYTHONPATH": str(BACKEND),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
