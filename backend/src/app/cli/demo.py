"""`deals demo`: a database, generated deals, the API and a worker in one command."""

import asyncio
from pathlib import Path

from pydantic import SecretStr

from app.cli import console
from app.core.config import Settings
from app.core.signing import signing_key
from app.db.migrations import upgrade
from app.db.provisioning import DatabaseUrls, provision_database
from app.db.session import Database
from app.http.sockets import base_url, require_free_port
from app.ingestion.generator import generate
from app.jobs.worker_subprocess import worker_subprocess
from app.repositories.deals.read import DealReadRepository
from app.repositories.pagination import PagePosition
from app.server import runner
from app.services.loading import LoadingService


def run(settings: Settings, *, host: str, port: int, rows: int, seed: int) -> None:
    """Start and migrate the database, load generated deals, and run the API and a worker.

    An existing file and existing deals are reused.

    Raises:
        DealsError: a step failed. The message is one line.
    """
    require_free_port(host, port)
    # Check the signing key now, so that a missing key is reported before the load.
    signing_key(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with provision_database(settings) as urls:
        upgrade(urls.primary)
        asyncio.run(_fill(settings, urls, rows=rows, seed=seed))
        base = base_url(host, port)
        console.stdout.print(f"API       {base}/deals\nSwagger   {base}/docs\nCtrl-C stops it.")
        served = settings.model_copy(update={"database_url": SecretStr(urls.primary)})
        with worker_subprocess(served):
            runner.serve(served, host=host, port=port)
    console.stdout.print("stopped; the data stays in", str(settings.data_dir), markup=False)


async def _fill(settings: Settings, urls: DatabaseUrls, *, rows: int, seed: int) -> None:
    # This file exists while a load runs. If it exists now, the last load was interrupted and must
    # run again. If it does not exist, stored deals are complete or the user's own, and are kept.
    unfinished = settings.data_dir / "demo-load-unfinished"
    async with Database(urls, settings.with_command_timeouts()) as database:
        stored = await _count(database)
        if stored and not unfinished.exists():
            console.stdout.print(f"{stored:,} deals are loaded already")
            return
        file = await asyncio.to_thread(_deals_csv, settings.data_dir, rows=rows, seed=seed)
        unfinished.touch()
        with console.load_bar(f"loading {file.name}") as progress:
            summary = await LoadingService(database).load(file, progress=progress)
        unfinished.unlink()
        console.print_summary(summary)


async def _count(database: Database) -> int:
    total, _ = await DealReadRepository(database.reader).page(
        {}, PagePosition("id", 0, None, 1), "exact"
    )
    return total or 0


def _deals_csv(data_dir: Path, *, rows: int, seed: int) -> Path:
    file = data_dir / f"deals-{rows}-{seed}.csv"
    if not file.exists():
        with console.rows_bar("generating deals.csv", rows) as progress:
            generate(file, rows=rows, seed=seed, progress=progress)
    return file
