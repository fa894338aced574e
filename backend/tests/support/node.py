"""Tests that need node and the packages of `npm/package.json`."""

import os
import shutil
from pathlib import Path

import pytest

NPM = Path(__file__).parents[2] / "npm"
BIN = NPM / "node_modules" / ".bin"


def require(*commands: str) -> None:
    """Skip the test without the packages, or fail it if `REQUIRE_NODE` is set."""
    missing = [each for each in commands if not (BIN / each).exists()]
    if shutil.which("node") is None:
        missing.append("node")
    if missing:
        give_up(f"{', '.join(missing)} missing: install node, and run `npm ci` in {NPM}")


def give_up(reason: str) -> None:
    """Skip the test, or fail it if `REQUIRE_NODE` is set."""
    if os.environ.get("REQUIRE_NODE"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
