"""Imports during a restart of the database, lost connections, or a database that is down."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from tests.conftest import app_client
from tests.embedded.embedded_users import postmaster_of, supervisors_of, wait_until_accepts_queries
from tests.jobs.workers import (
    CHUNKS,
    JOBS,
    LocalWorkers,
    Rows,
    Workers,
    deals_csv,
    stop,
    upload,
    wait_finished,
    wait_rows,
)
from tests.support.databases import SERVER_OPTIONS
from tests.support.stored_rows import execute
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.db.migrations import upgrade_async
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.embedded.server import embedded_postgres
from app.main import create_app

pytestmark = pytest.mark.integration

ROWS = 2000
CHUNK_ROWS = 50
_TERMINATE_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Deployment:
    """A server for one test, with the API and workers on it."""

    def __init__(self, folder: Path, url: str, api: httpx.AsyncClient, workers: Workers) -> None:
        self.folder = folder
        self.url = url
        self.api = api
        self.workers = workers
        self.rows = Rows(url)

    async def restart(self, how: signal.Signals, seconds: float) -> None:
        """Stop the server by the signal, and keep its supervisor from restarting it for a while."""
        (supervisor,) = supervisors_of(self.folder)
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(postmaster_of(self.folder), how)
        await asyncio.sleep(seconds)
        os.kill(supervisor, signal.SIGCONT)
        await wait_until_accepts_queries(self.url)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("server")
    with embedded_postgres(folder, options={**SERVER_OPTIONS, "fsync": "on"}) as server:
        await upgrade_async(server.url())
        yield folder, server.url()


@pytest.fixture
async def deployment(
    server: tuple[Path, str], tmp_path: Path, settings: Settings
) -> AsyncIterator[Deployment]:
    folder, url = server
    changed = {"database_url": SecretStr(url), "data_dir": tmp_path / "data"}
    tables = "imports, import_chunks, deals, hotels, categories, procrastinate_jobs"
    async with Database(DatabaseUrls(url, url), settings) as database:
        await execute(database, f"TRUNCATE {tables} CASCADE")
    workers = Workers(url, tmp_path)
    try:
        async with app_client(create_app(settings.model_copy(update=changed))) as api:
            yield Deployment(folder, url, api, workers)
    finally:
        workers.end()


async def assert_import_survives(
    api: httpx.AsyncClient, rows: Rows, path: Path, interrupt: Callable[[], Awaitable[object]]
) -> None:
    """Check that a disturbed import succeeds, and that the same worker runs the next one."""
    made = await upload(api, path)
    await wait_rows(api, made, 5 * CHUNK_ROWS)
    await interrupt()
    # Requests fail while the server is down and for a moment after that.
    done = await wait_finished(api, made)
    assert (done["rows_read"], done["inserted"]) == (ROWS, ROWS)
    assert await rows.one(CHUNKS, made["id"]) == list(range(ROWS // CHUNK_ROWS))
    assert await rows.one("SELECT count(*) FROM deals") == ROWS
    await wait_for(lambda: _all_jobs_succeeded(rows), "the job is done")
    again = await upload(api, path, force=True)
    assert (await wait_finished(api, again))["unchanged"] == ROWS


async def _all_jobs_succeeded(rows: Rows) -> bool:
    return set(await rows(JOBS)) == {("succeeded",)}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_import_database_restarted_completes(
    deployment: Deployment, tmp_path: Path, how: signal.Signals
) -> None:
    worker = deployment.workers.start(chunk_rows=CHUNK_ROWS)
    path = deals_csv(tmp_path / "deals.csv", ROWS)
    await assert_import_survives(
        deployment.api, deployment.rows, path, lambda: deployment.restart(how, 2)
    )
    assert worker.poll() is None


async def test_import_connections_terminated_completes(
    api: httpx.AsyncClient, local_workers: LocalWorkers, rows: Rows, tmp_path: Path
) -> None:
    worker = local_workers.start(chunk_rows=CHUNK_ROWS, heartbeat=0.5)
    await assert_import_survives(
        api, rows, deals_csv(tmp_path / "deals.csv", ROWS), lambda: rows(_TERMINATE_ALL)
    )
    assert worker.runs


@pytest.mark.slow
async def test_worker_without_database_stops_with_status_0(
    deployment: Deployment, tmp_path: Path
) -> None:
    made = await upload(deployment.api, deals_csv(tmp_path / "deals.csv", ROWS))
    worker = deployment.workers.start(chunk_rows=CHUNK_ROWS)
    await wait_rows(deployment.api, made, CHUNK_ROWS)
    stopping = asyncio.create_task(deployment.restart(signal.SIGINT, 3600))
    await asyncio.sleep(0.3)
    try:
        # psycopg's own pool would wait for its default of 30 seconds, twice.
        assert await stop(worker) == 0
    finally:
        stopping.cancel()
        await asyncio.wait([stopping])
        (supervisor,) = supervisors_of(deployment.folder)
        os.kill(supervisor, signal.SIGCONT)
    await wait_until_accepts_queries(deployment.url)
    deployment.workers.start(chunk_rows=CHUNK_ROWS)
    assert (await wait_finished(deployment.api, made))["inserted"] == ROWS


async def test_worker_before_migration_waits_for_schema(
    empty_url: str, own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = own_settings.model_copy(update={"database_url": SecretStr(empty_url)})
    workers = LocalWorkers(settings)
    rows = Rows(empty_url)
    try:
        workers.start()

        await wait_for(lambda: "run `deals migrate`" in caplog.text, "the log names the command")
        await upgrade_async(empty_url)
        await wait_for(
            lambda: rows("SELECT 1 FROM procrastinate_workers"), "the worker is registered"
        )
    finally:
        await workers.end()


async def test_worker_waiting_for_database_stops_without_showing_password(
    own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = "postgresql+asyncpg://deals:s3cret@127.0.0.1:1/deals"
    workers = LocalWorkers(own_settings.model_copy(update={"database_url": SecretStr(nowhere)}))
    workers.start()
    await wait_for(lambda: "waiting for the database" in caplog.text, "the worker waits")
    await workers.end()
    assert "s3cret" not in caplog.text
