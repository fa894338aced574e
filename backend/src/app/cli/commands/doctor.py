import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from app.cli import console
from app.cli.commands.databases import start
from app.cli.commands.doctor_report import Report, print_report, print_session, write_json
from app.cli.commands.options import EXIT_REJECTED
from app.core.config import Settings
from app.core.errors import (
    ConfigurationError,
    DatabaseUnreachableError,
    DealsError,
    EmbeddedPostgresError,
)
from app.db.migrations import known_revisions
from app.db.provisioning import provision_database_async
from app.doctor.connection import DiagnosticConnection, Target, open_diagnostics
from app.doctor.context import DiagnosisContext, memory_here
from app.doctor.examination import DoctorService
from app.doctor.findings import Finding
from app.doctor.termination import SessionTerminator

# Minimum timeout in seconds. HTTP requests time out earlier, but the doctor often examines slow
# database servers.
LEAST_PATIENCE = 5.0

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    replica: Annotated[
        bool, typer.Option("--replica", help="Diagnose READ_DATABASE_URL instead of the primary.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Number of `deals serve` processes that need connections."),
    ] = 1,
    kill: Annotated[
        int | None,
        typer.Option("--kill", metavar="PID", help="End the session with this PID. Run no checks."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
) -> None:
    """Diagnose database problems and suggest fixes.

    The checks only read, with a few short statements. If the database role lacks the permission for
    a check, its result is unknown. Grant the role pg_monitor to allow all checks.

    Exit status: 0 no problems (warnings are possible), 1 problems, 3 the database cannot be reached
    or the session cannot be ended.
    """
    settings = start()
    if kill is not None:
        asyncio.run(_end(settings, kill, replica=replica, yes=yes))
        return
    try:
        report = asyncio.run(_examine(settings, replica=replica, workers=workers))
    except (DatabaseUnreachableError, EmbeddedPostgresError) as error:
        if as_json:
            write_json(_unreachable(error, settings, replica=replica))
        raise
    if as_json:
        write_json(report)
    else:
        print_report(report)
    if report.status == "problem":
        raise typer.Exit(EXIT_REJECTED)


@asynccontextmanager
async def _examination(settings: Settings, *, replica: bool) -> AsyncIterator[DiagnosticConnection]:
    """Connect for diagnostics. The doctor never migrates a database, not even an embedded one."""
    async with provision_database_async(settings) as found:
        if replica and found.pooled:
            raise ConfigurationError(
                "--replica does not work with DB_PGBOUNCER: READ_DATABASE_URL is a pooler's address"
            )
        # Bypass any pooler: poolers refuse session settings and may use a different connection for
        # each statement.
        urls = found.past_pooler()
        url = urls.replica if replica else urls.primary
        patience = max(LEAST_PATIENCE, settings.db_connect_timeout)
        async with open_diagnostics(url, patience) as examination:
            yield examination


async def _examine(settings: Settings, *, replica: bool, workers: int) -> Report:
    async with _examination(settings, replica=replica) as examination:
        situation = DiagnosisContext(
            settings=settings,
            processes=workers,
            replica=replica and settings.read_database_url is not None,
            memory=memory_here() if examination.target.local else None,
            revisions=await asyncio.to_thread(known_revisions),
        )
        findings = await DoctorService(examination, situation).findings()
        return Report.of(examination.target, findings)


def _unreachable(error: DealsError, settings: Settings, *, replica: bool) -> Report:
    kind, advice = "embedded", ""
    if isinstance(error, DatabaseUnreachableError):
        kind, advice = error.kind, error.advice
    finding = Finding("server", "problem", str(error), {"kind": kind}, advice)
    primary = settings.direct_database_url or settings.database_url
    url = (settings.read_database_url if replica else None) or primary
    target = Target.of(url.get_secret_value()) if url else Target((), "deals", "deals")
    return Report.of(target, [finding])


async def _end(settings: Settings, pid: int, *, replica: bool, yes: bool) -> None:
    async with _examination(settings, replica=replica) as examination:
        ending = SessionTerminator(examination)
        session = await ending.find(pid)
        print_session(session)
        # While the operator decides, this process holds one idle connection and no locks.
        if not yes and not await asyncio.to_thread(_agreed):
            raise typer.Exit(EXIT_REJECTED)
        await ending.end(session)
        console.stdout.print(f"session {pid} has ended; its uncommitted changes are rolled back")


def _agreed() -> bool:
    console.stderr.print(
        "End this session? Its uncommitted changes are rolled back. [y/N] ", end="", markup=False
    )
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
