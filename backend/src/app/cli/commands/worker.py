import typer

from app.cli.commands.databases import start, upgrade_if_embedded
from app.jobs.process import run_worker

app = typer.Typer(add_completion=False)


@app.command()
def worker() -> None:
    """Run background jobs: imports of uploaded files, and housekeeping."""
    settings = start()
    upgrade_if_embedded(settings)
    # The worker's event loop replaces the signal handler that `main` has installed.
    run_worker(settings)
