"""Commands on a database that is not available, not migrated, or new."""

from pathlib import Path

import pytest
from tests.cli.deals_process import RunDeals
from tests.support.commands import Command

from app.ingestion.generator import generate

pytestmark = pytest.mark.integration


def test_command_unavailable_database_exits_3(invoke: Command, tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_bytes(b"id\n")
    url = f"postgresql+asyncpg://deals@/deals?host={tmp_path}"
    for command in ("migrate", "verify"):
        result = invoke(command, DATABASE_URL=url)
        assert result.returncode == 3
        assert "deals: The database is not available" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command", [["verify"], pytest.param(["keys", "list"], marks=pytest.mark.slow)]
)
def test_command_new_embedded_database_is_migrated(run: RunDeals, command: list[str]) -> None:
    assert run(*command).returncode == 0


def test_command_unmigrated_database_exits_3(
    invoke: Command, empty_url: str, tmp_path: Path
) -> None:
    generate(tmp_path / "deals.csv", rows=5, seed=5)
    for command in (["verify"], ["keys", "list"], ["load", "deals.csv"]):
        result = invoke(*command, DATABASE_URL=empty_url)
        assert result.returncode == 3, command
        assert "run `deals migrate`" in result.stderr
        assert "Traceback" not in result.stderr
