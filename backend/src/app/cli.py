"""The `deals` command: thin commands over the services that the HTTP API uses too."""

import asyncio
import dataclasses
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from app import console, demo, serving
from app.config import Settings, load_settings
from app.db.migrations import head_revision, upgrade
from app.db.provision import provisioned, provisioned_async
from app.db.session import Database
from app.errors import DealsError, FileRefusedError
from app.imports.generator import generate as generate_file
from app.jobs.process import run_worker, worker_beside
from app.logging import configure_logging
from app.services.keys import SCOPES, KeyService
from app.services.loading import LoadingService, LoadMode, LoadSummary
from app.services.verification import Drift, VerificationService

EXIT_REJECTED = 1
EXIT_REFUSED = 2
EXIT_FAILED = 3

DEFAULT_SEED = 20261120
MAX_KEY_NAME = 100

T = TypeVar("T")

app = typer.Typer(
    help="Hotel deals: load a CSV of deals, serve them over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

keys_app = typer.Typer(help="API keys: who may write.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Rows = Annotated[int, typer.Option(min=1, help="How many deals.")]


@app.command("demo")
def demo_command(port: Port = 8000, rows: Rows = 50_000, host: Host = "127.0.0.1") -> None:
    """Everything on an empty machine: a database, generated deals, the API.

    Ctrl-C stops all of it; a second start reuses the data.
    """
    demo.run(_start(), host=host, port=port, rows=rows, seed=DEFAULT_SEED)


@app.command()
def serve(  # noqa: PLR0913 - an option each
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve.")] = 1,
    *,
    reload: Annotated[bool, typer.Option(help="Restart when the code changes.")] = False,
    with_worker: Annotated[
        bool, typer.Option("--with-worker", help="Work on background jobs, too.")
    ] = False,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate",
            help="Bring the schema to head first. Default: only in development.",
        ),
    ] = None,
) -> None:
    """Serve the API."""
    if reload and workers > 1:
        raise typer.BadParameter("--reload serves with one process", param_hint="--workers")
    settings = _start()
    serving.require_free_port(host, port)
    with provisioned(settings) as urls:
        if migrate or (migrate is None and settings.app_env == "development"):
            upgrade(urls.primary)
        with worker_beside(settings) if with_worker else nullcontext():
            serving.serve(settings, host=host, port=port, workers=workers, reload=reload)


@app.command()
def worker() -> None:
    """Work on background jobs: imports of uploaded files, and housekeeping."""
    settings = _start()
    upgrade_if_embedded(settings)
    # The loop has handlers of its own for what `main` has set.
    run_worker(settings)


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="File to write; compressed when it ends in .gz.")],
    rows: Rows = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = DEFAULT_SEED,
) -> None:
    """Write a deals.csv of the usual shape."""
    with console.rows_bar("generating", rows) as progress:
        generate_file(out, rows=rows, seed=seed, progress=progress)
    console.stdout.print(f"{rows:,} deals in {out}", markup=False)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="A deals.csv or deals.csv.gz.")],
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected rows go. Default: FILE.rejects.csv.")
    ] = None,
    *,
    strict: Annotated[bool, typer.Option(help="Load nothing if one row is bad.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what a load would do.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Load deals from a file; loading it again changes nothing.

    Exit status: 0 all rows are in, 1 some were rejected (with --strict: nothing is loaded),
    2 the file was refused, 3 the load could not run.
    """
    settings = _start()
    mode: LoadMode = "dry-run" if dry_run else "strict" if strict else "rows"
    target = rejects or file.with_name(f"{file.name}.rejects.csv")
    summary = asyncio.run(_load(settings, file, target, mode))
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(summary), default=str) + "\n")
    else:
        console.print_summary(summary)
    if summary.rejected:
        raise typer.Exit(EXIT_REJECTED)


async def _load(settings: Settings, file: Path, rejects: Path, mode: LoadMode) -> LoadSummary:
    async with _database(settings) as database:
        with console.load_bar(f"loading {file.name}") as progress:
            return await LoadingService(database).load(
                file, mode=mode, rejects=rejects, progress=progress
            )


@app.command()
def migrate() -> None:
    """Bring the database's schema to head."""
    settings = _start()
    with provisioned(settings) as urls:
        upgrade(urls.primary)
    console.stdout.print(f"the schema is at {head_revision()}")


@app.command()
def verify(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is off.")] = False,
) -> None:
    """Recompute every derived number and report what is off.

    Exit status: 0 nothing is off (or was mended), 1 something is.
    """
    settings = _start()
    drift = asyncio.run(_verify(settings, fix=fix))
    if not drift:
        console.stdout.print("every derived number is right")
        return
    table = Table("of", "key", "number", "stored", "actual")
    for item in drift:
        table.add_row(item.what, item.key, item.name, str(item.stored), str(item.actual))
    console.stdout.print(table)
    console.stdout.print(f"{len(drift)} numbers {'mended' if fix else 'are off'}")
    if not fix:
        raise typer.Exit(EXIT_REJECTED)


async def _verify(settings: Settings, *, fix: bool) -> list[Drift]:
    async with _database(settings) as database, database.transaction() as session:
        return await VerificationService(session).verify(fix=fix)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", help=f"What it may do; repeatable. One of {', '.join(SCOPES)}."),
    ],
) -> None:
    """Make a key and show it, once."""
    chosen = [scope for scope in SCOPES if scope in scopes]
    if unknown := set(scopes) - set(SCOPES):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: not one of {', '.join(SCOPES)}", param_hint="--scope"
        )
    if not name.strip() or len(name) > MAX_KEY_NAME:
        raise typer.BadParameter(f"1 to {MAX_KEY_NAME} characters", param_hint="NAME")
    key = _with_keys(lambda keys: keys.create(name.strip(), chosen))
    # The key alone on stdout, for scripts.
    console.stderr.print("keep it, it is not shown again:")
    sys.stdout.write(f"{key}\n")


@keys_app.command("list")
def list_keys() -> None:
    """Every key: its scopes, when it was made, last used, revoked."""
    table = Table("name", "scopes", "made", "last used", "revoked")
    for key in _with_keys(lambda keys: keys.all()):
        dates = (key.created_at, key.last_used_at, key.revoked_at)
        shown = (date.strftime("%Y-%m-%d %H:%M") if date else "-" for date in dates)
        table.add_row(escape(key.name), " ".join(key.scopes), *shown)
    console.stdout.print(table)


@keys_app.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Make a key useless, for good."""
    _with_keys(lambda keys: keys.revoke(name))
    console.stdout.print(f"{name} is revoked", markup=False)


def _with_keys(work: Callable[[KeyService], Awaitable[T]]) -> T:
    settings = _start()

    async def run() -> T:
        async with _database(settings) as database, database.transaction() as session:
            return await work(KeyService(session))

    return asyncio.run(run())


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    await asyncio.to_thread(upgrade_if_embedded, settings)
    async with provisioned_async(settings) as urls:
        database = Database(urls, settings.patient())
        try:
            yield database
        finally:
            await database.dispose()


def upgrade_if_embedded(settings: Settings) -> None:
    """An embedded database may be new; one at DATABASE_URL is migrated when its operator says."""
    if settings.database_url is None:
        with provisioned(settings) as urls:
            upgrade(urls.primary)


def _start() -> Settings:
    settings = load_settings()
    configure_logging(settings)
    return settings


def main() -> NoReturn:
    """Run the command; what goes wrong on purpose is one line and an exit status."""
    # A service manager's SIGTERM ends a command as Ctrl-C does: every `with` block is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except FileRefusedError as error:
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
