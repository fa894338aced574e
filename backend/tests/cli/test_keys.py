"""`deals keys`: create, list and revoke API keys."""

import pytest
from tests.support.commands import Command, Ended

pytestmark = pytest.mark.integration


def test_keys_create_list_and_revoke(invoke: Command, empty_url: str) -> None:
    def keys(*arguments: str) -> Ended:
        return invoke("keys", *arguments, DATABASE_URL=empty_url)

    assert invoke("migrate", DATABASE_URL=empty_url).returncode == 0
    made = keys("create", "ci", "--scope", "deals:write", "--scope", "imports:write")
    listed = keys("list")
    revoked = keys("revoke", "ci")
    again = keys("revoke", "ci")

    assert made.returncode == 0
    assert made.stdout.startswith("hd_")
    assert made.stdout.count("\n") == 1
    assert "deals:write imports:write" in listed.stdout
    assert made.stdout.strip() not in listed.stdout
    assert revoked.stdout == "ci is revoked\n"
    assert again.returncode == 3
    assert "no active key named ci" in again.stderr
    assert keys("create", "x", "--scope", "root").returncode == 2
