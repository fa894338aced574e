"""The `deals` command in the process of the tests, which saves the start of a process."""

import gc
import io
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.support.timeouts import LONG_TIMEOUTS_ENV

from app.cli import main
from app.cli.commands import databases
from app.core.config import Settings


@dataclass(frozen=True)
class Ended:
    """The exit status and the output of a command, named as in `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


Command: TypeAlias = Callable[..., Ended]


def in_process(folder: Path, capsys: pytest.CaptureFixture[str], **given: str) -> Command:
    """Return a function that runs `deals` in `folder`, with these variables.

    Only synchronous tests can call it, because commands run an event loop of their own.
    """
    always = {
        **LONG_TIMEOUTS_ENV,
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": "",
        "COLUMNS": "200",
        "TERM": "dumb",
        **given,
    }

    def run(*arguments: str, stdin: str = "", **variables: str) -> Ended:
        capsys.readouterr()
        status = _exit_status(arguments, folder, always | variables, stdin)
        return Ended(status, *capsys.readouterr())

    return run


def _exit_status(
    arguments: tuple[str, ...], folder: Path, variables: Mapping[str, str], stdin: str
) -> int:
    """Run the command, restore signal handlers and garbage collector, and return its status."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["deals", *arguments])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        # Otherwise loggers of modules keep writing to this test's captured output.
        patch.setattr(databases, "configure_logging", lambda _settings: None)
        patch.chdir(folder)
        try:
            with pytest.raises(SystemExit) as ended:
                main.main()
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)
            gc.unfreeze()
    status = ended.value.code
    assert isinstance(status, int)
    return status
