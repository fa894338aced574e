"""External programs that tests run."""

import os
import shutil
from typing import NoReturn

import pytest

# Debian installs some servers where only root's PATH looks.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
# Advice for missing programs whose Debian package has another name.
_INSTALL = {
    "docker": "see https://docs.docker.com/compose/install/",
    "prlimit": "apt-get install util-linux",
    "uv": "python3 -m pip install uv",
}


def require_program(name: str) -> str:
    """Return the path of a program.

    Without the program the test is skipped, with advice for the installation. It fails if the
    variable `REQUIRE_` with the program's name is set, as in CI.
    """
    found = shutil.which(name, path=_PATH)
    if found is None:
        give_up(name, f"{name} is missing: {install(name)}")
    return found


def install(name: str) -> str:
    """Return advice for the installation of a program."""
    return _INSTALL.get(name, f"apt-get install {name}")


def give_up(name: str, reason: str) -> NoReturn:
    """Skip the test, or fail it if the program is required."""
    if os.environ.get(f"REQUIRE_{name.upper()}"):
        pytest.fail(f"{reason} (REQUIRE_{name.upper()} is set)", pytrace=False)
    pytest.skip(reason)
