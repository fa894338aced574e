from contextlib import nullcontext
from typing import Annotated

import typer

from app.cli.commands.databases import start
from app.cli.commands.options import Host, Port
from app.db.migrations import upgrade
from app.db.provisioning import provision_database
from app.http.sockets import require_free_port
from app.jobs.worker_subprocess import worker_subprocess
from app.server import runner

app = typer.Typer(add_completion=False)


@app.command()
def serve(  # noqa: PLR0913 - one parameter per option
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Number of server processes.")] = 1,
    *,
    reload: Annotated[bool, typer.Option(help="Restart when the code changes.")] = False,
    with_worker: Annotated[
        bool, typer.Option("--with-worker", help="Run a background worker beside the server.")
    ] = False,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate",
            help="Upgrade the schema first. Default: only in development.",
        ),
    ] = None,
) -> None:
    """Serve the API."""
    if reload and workers > 1:
        raise typer.BadParameter("--reload needs --workers 1", param_hint="--workers")
    settings = start()
    require_free_port(host, port)
    with provision_database(settings) as urls:
        if migrate or (migrate is None and settings.app_env == "development"):
            upgrade(urls.direct)
        with worker_subprocess(settings) if with_worker else nullcontext():
            runner.serve(settings, host=host, port=port, workers=workers, reload=reload)
