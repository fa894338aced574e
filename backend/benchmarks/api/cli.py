"""What the commands have in common: options, the load generator, errors for a person."""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from app.core.config import Settings
from app.core.errors import DealsError
from benchmarks.api.client import BuiltIn
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.load import Generator
from benchmarks.api.wrk import Wrk

# The load average of a machine on which a benchmark is alone.
_QUIET = 0.7

HOW_TO_GET_WRK = "apt-get install wrk, brew install wrk, or https://github.com/wg/wrk"


def bare_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Without any option yet, for a command that makes its load by itself."""
    return argparse.ArgumentParser(prog=f"{command} --", description=description)


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """With the options that every command has whose load a generator makes."""
    made = bare_parser(command, description)
    made.add_argument(
        "--client",
        choices=("auto", "wrk", "built-in"),
        default="auto",
        help=f"what makes the load; auto is wrk where there is one ({HOW_TO_GET_WRK})",
    )
    made.add_argument(
        "--setting",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="instead of the default of .env.example, for the service and its twins; repeatable",
    )
    return made


def add_output(made: argparse.ArgumentParser) -> None:
    """The options of a command whose figures are kept."""
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    made.add_argument(
        "--write-docs", action="store_true", help="write docs/benchmark-results.md and its pictures"
    )


def add_rows(made: argparse.ArgumentParser) -> None:
    """The option of a command that has one size."""
    made.add_argument(
        "--rows", type=int, default=50_000, help="how many deals (default %(default)s)"
    )


def add_turns(made: argparse.ArgumentParser, *, rounds: int, seconds: float, of: str) -> None:
    """The options of a command that measures in turns, by `of`: "of each server", say."""
    made.add_argument(
        "--rounds", type=int, default=rounds, help=f"turns {of} (default %(default)s)"
    )
    made.add_argument(
        "--seconds", type=float, default=seconds, help="length of a turn (default %(default)s)"
    )


def add_scenarios(made: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """The option of a command that has several things to measure."""
    made.add_argument(
        "--scenario",
        action="append",
        default=[],
        choices=tuple(names),
        help="this one only; repeatable",
    )


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or name.lower() not in Settings.model_fields:
        raise argparse.ArgumentTypeError("must be NAME=VALUE, a name of .env.example")
    return name.upper(), value


def generator(choice: str) -> Generator:
    """The load generator of the option.

    Raises:
        BenchmarkError: wrk is asked for and not there.
    """
    program = shutil.which("wrk")
    if choice == "built-in" or (choice == "auto" and program is None):
        if choice == "auto":
            say(f"no wrk on PATH, so a built-in client makes the load; better: {HOW_TO_GET_WRK}")
        return BuiltIn()
    if program is None:
        raise BenchmarkError(f"no wrk on PATH: {HOW_TO_GET_WRK}")
    return Wrk(program)


def say(line: str) -> None:
    """Tell the person who waits; what the command finds goes to stdout."""
    print(line, file=sys.stderr, flush=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write to a file named where the person is, which is not where the command runs."""
    target = Path(os.environ.get("MISE_ORIGINAL_CWD", ".")) / file
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def guarded(work: Callable[[], int]) -> int:
    """The exit status; what went wrong on purpose is a line, not a traceback."""
    # As Ctrl-C: every `with` block is left, and no server stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    busy = os.getloadavg()[0]
    if busy > _QUIET:
        say(f"this machine is busy (load average {busy:.1f}), so ratios are noisy, too")
    try:
        return work()
    except (BenchmarkError, DealsError, OSError) as error:
        say(f"benchmark: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
