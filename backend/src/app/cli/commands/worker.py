import typer

from app.cli.commands.databases import start, upgrade_if_embedded
from app.jobs.process import run_worker

app = typer.Typer(add_completion=False)


@app.command()
def worker() -> None:
    """Work on background jobs: imports of uploaded files, and housekeeping."""
    settings = start()
    upgrade_if_embedded(settings)
    # The loop has handlers of its own for what `main` has set.
    run_worker(settings)
