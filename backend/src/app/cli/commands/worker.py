import typer

from app.cli.commands.databases import start, upgrade_if_embedded
from app.jobs.process import run_worker

app = typer.Typer(add_completion=False)


@app.command()
def worker() -> None:
    """Run background jobs: imports of uploaded files, and housekeeping."""
    settings = start()
    upgrade_if_embedded(settings)
    # The worker's event loop installs its own signal handlers in place of the one in `main`.
    run_worker(settings)
