"""Programs that tests run and that are not Python's."""

import os
import shutil

import pytest

# Debian has servers where only root looks.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def program(name: str) -> str:
    """Where a program is; a test without it is skipped, or fails where it must not be missing."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        if os.environ.get(f"REQUIRE_{name.upper()}"):
            pytest.fail(f"REQUIRE_{name.upper()} is set, and there is no {name}")
        pytest.skip(f"{name} is not installed")
    return found
