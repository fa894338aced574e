from pathlib import Path
from typing import Annotated

import typer

from app.cli import console
from app.cli.commands.options import DEFAULT_SEED, Rows
from app.ingestion.generator import generate as generate_file

app = typer.Typer(add_completion=False)


@app.command()
def generate(
    out: Annotated[
        Path, typer.Option(help="File to write, gzip-compressed if its name ends in .gz.")
    ],
    rows: Rows = 50_000,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Seed of the random data. The same seed gives the same file."),
    ] = DEFAULT_SEED,
) -> None:
    """Write a CSV file of random deals."""
    with console.rows_bar("generating", rows) as progress:
        generate_file(out, rows=rows, seed=seed, progress=progress)
    console.stdout.print(f"{rows:,} deals in {out}", markup=False)
