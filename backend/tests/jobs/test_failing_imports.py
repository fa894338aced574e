"""A failing import delays no other import, whether it fails for good or waits for a retry."""

import httpx
import pytest
from procrastinate import App
from tests.support.csv_files import row
from tests.support.database_faults import failing
from tests.support.imports import find, import_counts, submit
from tests.support.stored_rows import execute, fetch_rows

from app.core.config import Settings
from app.db.session import Database
from app.jobs.conninfo import conninfo
from app.jobs.procrastinate_adapter import job_app
from app.repositories.jobs import QUEUE
from app.services.housekeeping import HousekeepingService
from app.services.import_runner import ImportRunner
from app.storage.uploads import UploadStore

pytestmark = pytest.mark.integration

POISON = "NEW.external_id = 666"
UNKNOWN_ERROR, SHUTDOWN = "XX001", "57P01"
UNEXPECTED = "The import failed because of an unexpected error; the worker's log has the cause"
DUE = """
SELECT id FROM procrastinate_jobs
WHERE status = 'todo' AND coalesce(scheduled_at <= now(), true) AND task_name = 'load_import'
"""
JOBS = """
SELECT status::text, count(*)::int FROM procrastinate_jobs
WHERE task_name = 'load_import' GROUP BY status
"""


@pytest.fixture
def app(
    database_url: str,
    database: Database,
    runner: ImportRunner,
    uploads: UploadStore,
    own_settings: Settings,
) -> App:
    """Return the worker's application on the database of the test."""
    housekeeping = HousekeepingService(database, uploads, own_settings)
    return job_app(conninfo(database_url, "hotel-deals worker"), runner, housekeeping)


async def run_due_jobs(app: App, database: Database) -> None:
    """Run all due jobs, as a worker does.

    A worker in this mode ends when the next job waits for the lock of another one.
    """
    async with app.open_async():
        while await fetch_rows(database, DUE):
            await app.run_worker_async(
                queues=[QUEUE], concurrency=4, wait=False, install_signal_handlers=False
            )


async def submit_ten(api: httpx.AsyncClient) -> list[int]:
    """Submit ten imports, two of them dry runs."""
    return [
        (await submit(api, [row(number)], dry_run=number in {3, 7}))["id"]
        for number in range(1, 11)
    ]


async def test_import_with_unexpected_error_fails_once_and_others_succeed(
    api: httpx.AsyncClient, app: App, database: Database
) -> None:
    poisoned = (await submit(api, [row(666)]))["id"]
    good = await submit_ten(api)
    async with failing(database, "deals", POISON, sqlstate=UNKNOWN_ERROR):
        await run_due_jobs(app, database)

    failed = await find(api, poisoned)
    assert (failed["state"], failed["error"]) == ("failed", UNEXPECTED)
    assert await fetch_rows(database, f"SELECT attempt FROM imports WHERE id = {poisoned}") == [
        (1,)
    ]
    for number in good:
        done = await find(api, number)
        assert (done["state"], import_counts(done)) == ("succeeded", {"inserted": 1})
        assert done["started_at"] >= failed["finished_at"]
    assert await fetch_rows(database, JOBS) == [("succeeded", 11)]


async def test_import_between_attempts_does_not_block_others(
    api: httpx.AsyncClient, app: App, runner: ImportRunner, database: Database
) -> None:
    poisoned = [(await submit(api, [row(666), row(number)]))["id"] for number in (1001, 1002)]
    good = await submit_ten(api)
    async with failing(database, "deals", POISON, sqlstate=SHUTDOWN):
        await run_due_jobs(app, database)

    for number in good:
        assert (await find(api, number))["state"] == "succeeded"
    for number in poisoned:
        waiting = await find(api, number)
        assert waiting["state"] == "queued"
        assert waiting["retry_at"] is not None
    assert await fetch_rows(database, JOBS) == [("succeeded", 12)]
    # The retry runs neither early nor never.
    await execute(
        database, "UPDATE imports SET retry_at = now() + interval '1 h' WHERE state = 'queued'"
    )
    await runner.requeue_orphaned()
    assert await fetch_rows(database, JOBS) == [("succeeded", 12)]
    await execute(database, f"UPDATE imports SET retry_at = now() WHERE id = {poisoned[0]}")
    await runner.requeue_orphaned()
    await run_due_jobs(app, database)

    assert (await find(api, poisoned[0]))["state"] == "succeeded"
    assert (await find(api, poisoned[1]))["state"] == "queued"


async def test_cancel_import_between_attempts_ends_it(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    made = await submit(api, [row(666)])
    async with failing(database, "deals", POISON, sqlstate=SHUTDOWN):
        await runner.run(made["id"])
    assert (await api.delete(f"/imports/{made['id']}")).status_code == 200

    cancelled = await find(api, made["id"])
    assert (cancelled["state"], cancelled["retry_at"]) == ("cancelled", None)
