import asyncio
from typing import Annotated

import typer
from rich.table import Table

from app.cli import console
from app.cli.commands.databases import opened, start
from app.cli.commands.options import EXIT_REJECTED
from app.core.config import Settings
from app.repositories.verification import Drift
from app.services.verification import VerificationService

app = typer.Typer(add_completion=False)


@app.command()
def verify(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Correct wrong numbers.")] = False,
) -> None:
    """Recompute all stored counts and sums, and report differences.

    Exit status: 0 all numbers are correct (or were corrected), 1 some numbers are wrong.
    """
    settings = start()
    drift = asyncio.run(_verify(settings, fix=fix))
    if not drift:
        console.stdout.print("every derived number is correct")
        return
    table = Table("of", "key", "number", "stored", "actual")
    for item in drift:
        table.add_row(item.what, item.key, item.name, str(item.stored), str(item.actual))
    console.stdout.print(table)
    console.stdout.print(
        f"derived numbers {'corrected' if fix else 'that are wrong'}: {len(drift)}"
    )
    if not fix:
        raise typer.Exit(EXIT_REJECTED)


async def _verify(settings: Settings, *, fix: bool) -> list[Drift]:
    async with opened(settings) as database:
        return await database.uow.run(lambda session: VerificationService(session).verify(fix=fix))
