import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli import console
from app.cli.commands.databases import opened, start
from app.cli.commands.options import EXIT_REJECTED
from app.core.config import Settings
from app.services.load_reports import LoadMode, LoadSummary
from app.services.loading import LoadingService

app = typer.Typer(add_completion=False)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="CSV file of deals, plain or gzip-compressed.")],
    rejects: Annotated[
        Path | None, typer.Option(help="File for rejected rows. Default: FILE.rejects.csv.")
    ] = None,
    *,
    strict: Annotated[bool, typer.Option(help="Load nothing if a row is rejected.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Report what a load would do and store nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Load deals from a CSV file. Loading a file again changes nothing.

    Exit status: 0 all rows are loaded, 1 some rows were rejected (with --strict nothing is loaded),
    2 the file is invalid, 3 the load failed.
    """
    settings = start()
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
    async with opened(settings) as database:
        with console.load_bar(f"loading {file.name}") as progress:
            return await LoadingService(database).load(
                file, mode=mode, rejects=rejects, progress=progress
            )
