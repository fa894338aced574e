"""The `deals` command: thin commands over the services that the HTTP API uses too."""

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
    """A command, or a group of them, that is imported when it is run or asked for its help.

    So none starts with what others need: pandas alone takes half a second.
    """

    def __init__(self, name: str, line: str) -> None:
        super().__init__(name, help=line)

    def load(self) -> Any:
        """The command itself."""
        # What is imported stays: the collector need look at it neither meanwhile nor later.
        gc.disable()
        module = resolve_name(f"app.cli.commands.{self.name}")
        gc.freeze()
        gc.enable()
        return typer.main.get_command(module.app)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Leave it to the command itself to parse, to show its help and to run."""
        return self.load().make_context(*arguments, **options)


app = TyperGroup(
    name="deals",
    help="Hotel deals: load a CSV of deals, serve them over HTTP.",
    no_args_is_help=True,
    commands=[
        Later("demo", "Everything on an empty machine: a database, generated deals, the API."),
        Later("serve", "Serve the API."),
        Later("worker", "Work on background jobs: imports of uploaded files, and housekeeping."),
        Later("generate", "Write a deals.csv of the usual shape."),
        Later("load", "Load deals from a file; loading it again changes nothing."),
        Later("migrate", "Bring the database's schema to head."),
        Later("verify", "Recompute every derived number and report what is off."),
        Later("doctor", "Diagnose database problems and suggest fixes."),
        Later("keys", "API keys: who may write."),
    ],
)


def main() -> NoReturn:
    """Run the command; what goes wrong on purpose is one line and an exit status."""
    # A service manager's SIGTERM ends a command as Ctrl-C does: every `with` block is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except InvalidFileError as error:
        _fail(str(error), EXIT_REFUSED)
    except DealsError as error:
        _fail(str(error), EXIT_FAILED)
    except SQLAlchemyError as error:
        _fail(f"the database refused: {str(error).splitlines()[0]}", EXIT_FAILED)
    except BrokenPipeError:
        # The reader of a pipe (`deals verify | head`) has seen enough.
        sys.stderr.close()
    sys.exit(0)


def _fail(message: str, status: int) -> NoReturn:
    console.stderr.print(f"deals: {message}", markup=False)
    sys.exit(status)
