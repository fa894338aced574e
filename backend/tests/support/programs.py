"""Programs that tests run and that are not Python's."""

import os
import shutil
from typing import NoReturn

import pytest

# Debian has servers where only root looks.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
# What helps where a program is missing; Debian's package has the same name as other programs.
_INSTALL = {
    "docker": "see https://docs.docker.com/compose/install/",
    "prlimit": "apt-get install util-linux",
    "uv": "python3 -m pip install uv",
}


def require_program(name: str) -> str:
    """Return where a program is.

    A test without it is skipped, and says what to install. Where `REQUIRE_` and the name are set,
    as in CI, it fails.
    """
    found = shutil.which(name, path=_PATH)
    if found is None:
        give_up(name, f"{name} is missing: {install(name)}")
    return found


def install(name: str) -> str:
    """Return what installs a program."""
    return _INSTALL.get(name, f"apt-get install {name}")


def give_up(name: str, reason: str) -> NoReturn:
    """Skip the test, or fail where the program must be there."""
    if os.environ.get(f"REQUIRE_{name.upper()}"):
        pytest.fail(f"{reason} (REQUIRE_{name.upper()} is set)", pytrace=False)
    pytest.skip(reason)
