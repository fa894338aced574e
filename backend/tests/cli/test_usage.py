"""Usage, help and settings of all commands, and their exit statuses."""

import pytest
from tests.cli.deals_process import RunDeals
from tests.support.commands import Command

from app.cli.main import Later
from app.cli.main import app as commands

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, "DATABASE_URL"),
        ({"DB_POOL_SIZE": "many"}, "DB_POOL_SIZE"),
        ({"APP_ENV": "prod"}, "APP_ENV"),
    ],
)
def test_command_invalid_setting_exits_3_naming_it(
    invoke: Command, variables: dict[str, str], named: str
) -> None:
    result = invoke("migrate", **variables)

    assert result.returncode == 3
    assert result.stderr.startswith(f"deals: wrong settings: {named}")
    assert "s3cret" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["load"], ["serve", "--port", "0"], ["demo", "--rows", "x"]]
)
def test_command_invalid_usage_exits_2_with_help(invoke: Command, arguments: list[str]) -> None:
    result = invoke(*arguments)

    assert result.returncode == 2
    assert "--help" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["", *commands.commands])
def test_command_help_exits_0(invoke: Command, command: str) -> None:
    result = invoke(*command.split(), "--help")

    assert result.returncode == 0
    assert f"Usage: deals {command}" in result.stdout


def test_command_installed_returns_its_exit_status(run: RunDeals) -> None:
    shown = run("verify", "--help")
    refused = run("migrate", DB_POOL_SIZE="many")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Usage: deals verify" in shown.stdout
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("deals: wrong settings: DB_POOL_SIZE")


@pytest.mark.parametrize("command", commands.commands.values(), ids=commands.commands)
def test_command_short_help_equals_that_of_its_module(command: Later) -> None:
    assert command.get_short_help_str(200) == command.load().get_short_help_str(200)
