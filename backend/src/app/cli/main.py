"""The `deals` command: a thin layer over the services, which the HTTP API uses as well."""

import gc
import signal
import sys
from pkgutil import resolve_name
from typing import Any, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError
from typer.core import TyperCommand, TyperGroup

from app.cli import console
from app.cli.commands.options import EXIT_FAILED, EXIT_REFUSED
from app.core.errors import DealsError, InvalidFileError


class Later(TyperCommand):
    """A command or command group whose module is imported on first use.

    A command loads no modules that only other commands need: pandas alone takes half a second.
    """

    def __init__(self, name: str, line: str) -> None:
        super().__init__(name, help=line)

    def load(self) -> Any:
        """Import and return the command."""
        # Exclude imported objects from garbage collection: they live until the process ends.
        gc.disable()
        module = resolve_name(f"app.cli.commands.{self.name}")
        gc.freeze()
        gc.enable()
        return typer.main.get_command(module.app)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Delegate parsing, help and execution to the imported command."""
        return self.load().make_context(*arguments, **options)


app = TyperGroup(
    name="deals",
    help="Hotel deals: load deals from CSV files and serve them over HTTP.",
    no_args_is_help=True,
    commands=[
        Later("demo", "Start a database with generated deals, the API and a worker."),
        Later("serve", "Serve the API."),
        Later("worker", "Run background jobs: imports of uploaded files, and housekeeping."),
        Later("generate", "Write a CSV file of random deals."),
        Later("load", "Load deals from a CSV file. Loading a file again changes nothing."),
        Later("migrate", "Upgrade the database schema to the latest revision."),
        Later("verify", "Recompute all stored counts and sums, and report differences."),
        Later("doctor", "Diagnose database problems and suggest fixes."),
        Later("keys", "Create, list and revoke API keys."),
    ],
)


def main() -> NoReturn:
    """Run the command. Print an expected error as one line and exit with its status."""
    # Handle SIGTERM, which service managers send, like Ctrl-C, so that `with` blocks clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except InvalidFileError as error:
        _fail(str(error), EXIT_REFUSED)
    except DealsError as error:
        _fail(str(error), EXIT_FAILED)
    except SQLAlchemyError as error:
        _fail(f"database error: {str(error).splitlines()[0]}", EXIT_FAILED)
    except BrokenPipeError:
        # The reader of a pipe has closed it, as in `deals verify | head`.
        sys.stderr.close()
    sys.exit(0)


def _fail(message: str, status: int) -> NoReturn:
    console.stderr.print(f"deals: {message}", markup=False)
    sys.exit(status)
