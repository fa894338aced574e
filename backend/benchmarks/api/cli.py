"""Common parts of the commands: options, the load generator and error messages."""

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

# The highest load average of a machine on which a benchmark runs alone.
_QUIET = 0.7

HOW_TO_GET_WRK = "apt-get install wrk, brew install wrk, or https://github.com/wg/wrk"


def bare_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser without options, for a command with its own load generator."""
    return argparse.ArgumentParser(prog=f"{command} --", description=description)


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every command that uses a load generator."""
    made = bare_parser(command, description)
    made.add_argument(
        "--client",
        choices=("auto", "wrk", "built-in"),
        default="auto",
        help=f"the load generator; auto uses wrk if it is installed ({HOW_TO_GET_WRK})",
    )
    made.add_argument(
        "--setting",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="a setting of .env.example for the service and the other servers; repeatable",
    )
    return made


def add_output(made: argparse.ArgumentParser) -> None:
    """Add the options that store the figures."""
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    made.add_argument(
        "--write-docs", action="store_true", help="write docs/benchmark-results.md and its pictures"
    )


def add_rows(made: argparse.ArgumentParser) -> None:
    """Add the option for the number of deals."""
    made.add_argument(
        "--rows", type=int, default=50_000, help="how many deals (default %(default)s)"
    )


def add_turns(made: argparse.ArgumentParser, *, rounds: int, seconds: float, of: str) -> None:
    """Add the options of turns. `of` names their object, for example "of each server"."""
    made.add_argument(
        "--rounds", type=int, default=rounds, help=f"turns {of} (default %(default)s)"
    )
    made.add_argument(
        "--seconds", type=float, default=seconds, help="length of a turn (default %(default)s)"
    )


def add_scenarios(made: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add the option that selects scenarios."""
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
    """Return the load generator that the option selects.

    Raises:
        BenchmarkError: the option selects wrk, which is not installed.
    """
    program = shutil.which("wrk")
    if choice == "built-in" or (choice == "auto" and program is None):
        if choice == "auto":
            say(f"no wrk on PATH, using the slower built-in client; to get wrk: {HOW_TO_GET_WRK}")
        return BuiltIn()
    if program is None:
        raise BenchmarkError(f"no wrk on PATH: {HOW_TO_GET_WRK}")
    return Wrk(program)


def say(line: str) -> None:
    """Write progress to stderr. Results go to stdout."""
    print(line, file=sys.stderr, flush=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON to a file, whose path is relative to the caller's folder."""
    target = Path(os.environ.get("MISE_ORIGINAL_CWD", ".")) / file
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def guarded(work: Callable[[], int]) -> int:
    """Run `work` and return the exit status, with expected errors as one line."""
    # SIGTERM acts like Ctrl-C, so that every `with` block ends and stops its servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    busy = os.getloadavg()[0]
    if busy > _QUIET:
        say(f"this machine is busy (load average {busy:.1f}), so even ratios are noisy")
    try:
        return work()
    except (BenchmarkError, DealsError, OSError) as error:
        say(f"benchmark: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
