"""The `deals` command, in the process of the tests and in a process of its own."""

import subprocess
from pathlib import Path

import pytest
from tests.cli.deals_process import RunDeals
from tests.support.commands import Command, in_process
from tests.support.environment import inherited
from tests.support.servers import DEALS
from tests.support.timeouts import LONG_TIMEOUTS_ENV, TIMEOUT


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **inherited(),
        **LONG_TIMEOUTS_ENV,
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": "",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> RunDeals:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DEALS, *arguments],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    return run


@pytest.fixture
def invoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command, run in the process of the tests."""
    return in_process(tmp_path, capsys)
