"""What may go better later is tried again, with pauses; what cannot is not."""

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from tests.support.csv_files import row
from tests.support.database_faults import failing
from tests.support.imports import counts, find, submit
from tests.support.stored_rows import execute, fetch_rows, ids

from app.core.config import Settings
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.services.import_runner import MAX_ATTEMPTS, MAX_FAILURES, ImportRunner
from app.storage.uploads import UploadStore

pytestmark = pytest.mark.integration

STORAGE = "The storage of uploaded files is not available, try again shortly"
DATABASE = "The database is not available, try again shortly"
UNEXPECTED = "The import failed because of an unexpected error; the worker's log has the cause"

# Seconds before the next attempt.
PAUSES = [1, 2, 4, 8, 16, 32, 60, 60, 60]


def folder(settings: Settings) -> Path:
    return settings.data_dir / "uploads"


async def test_a_storage_that_is_away_is_waited_for_and_not_for_ever(
    api: httpx.AsyncClient, runner: ImportRunner, own_settings: Settings
) -> None:
    made = await submit(api, [row(1)])
    away = folder(own_settings).rename(own_settings.data_dir / "away")
    folder(own_settings).write_text("no folder")
    for number in range(MAX_FAILURES - 1):
        before = datetime.now(UTC)
        await runner.run(made["id"])
        waiting = await find(api, made["id"])
        assert (waiting["state"], waiting["error"]) == ("queued", STORAGE)
        retry_at = datetime.fromisoformat(waiting["retry_at"])
        pause = timedelta(seconds=PAUSES[number])
        assert before + pause <= retry_at <= datetime.now(UTC) + pause

    await runner.run(made["id"])
    done = await find(api, made["id"])
    assert (done["state"], done["error"], done["retry_at"]) == ("failed", STORAGE, None)
    # It has come to nothing, so the same bytes are welcome again.
    folder(own_settings).unlink()
    away.rename(folder(own_settings))
    assert (await submit(api, [row(1)]))["id"] > made["id"]


async def test_a_storage_that_comes_back_is_all_it_takes(
    api: httpx.AsyncClient, runner: ImportRunner, own_settings: Settings
) -> None:
    made = await submit(api, [row(1)])
    away = folder(own_settings).rename(own_settings.data_dir / "away")
    folder(own_settings).write_text("no folder")
    await runner.run(made["id"])
    folder(own_settings).unlink()
    away.rename(folder(own_settings))
    await runner.run(made["id"])

    done = await find(api, made["id"])
    assert (done["state"], done["error"], counts(done)) == ("succeeded", None, {"inserted": 1})


@pytest.mark.parametrize("options", [{}, {"strict": True}, {"dry_run": True}])
async def test_a_database_that_fails_in_the_middle_is_tried_again(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database, options: dict[str, bool]
) -> None:
    made = await submit(api, [row(number) for number in range(1, 30)], **options)
    async with failing(database, "import_chunks", "NEW.number = 1"):
        await runner.run(made["id"])
    waiting = await find(api, made["id"])
    assert (waiting["state"], waiting["error"]) == ("queued", DATABASE)

    await runner.run(made["id"])
    assert counts(await find(api, made["id"])) == {"inserted": 29}


async def test_run_without_database_leaves_the_import_to_a_later_job(
    own_settings: Settings, uploads: UploadStore, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    database = Database(DatabaseUrls(nowhere, nowhere), own_settings)
    await ImportRunner(database, uploads).run(1)
    await database.dispose()

    assert f"import 1 could not be begun: {DATABASE}" in caplog.messages


async def test_an_end_that_cannot_be_stored_is_stored_later(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    made = await submit(api, b"not a file of deals")
    async with failing(database, "imports", "NEW.state = 'failed'", on="UPDATE"):
        await runner.run(made["id"])
    assert (await find(api, made["id"]))["state"] == "running"
    await runner.run(made["id"])

    assert (await find(api, made["id"]))["state"] == "failed"


async def test_a_bug_says_nothing_of_itself(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    made = await submit(api, [row(1)])
    # A code that nothing is known about.
    async with failing(database, "deals", "true", sqlstate="XX001"):
        await runner.run(made["id"])

    done = await find(api, made["id"])
    assert (done["state"], done["error"], counts(done)) == ("failed", UNEXPECTED, {})
    assert await ids(database) == []


async def test_where_the_worker_keeps_its_files_is_not_told(
    api: httpx.AsyncClient, runner: ImportRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    made = await submit(api, [row(1)])
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    await runner.run(made["id"])

    error = (await find(api, made["id"]))["error"]
    assert error is not None
    assert error.startswith("The worker could not write its temporary files")


async def test_an_import_that_workers_keep_dying_of_comes_to_an_end(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    made = await submit(api, [row(1)])
    await execute(database, f"UPDATE imports SET state = 'running', attempt = {MAX_ATTEMPTS}")
    await runner.run(made["id"])

    done = await find(api, made["id"])
    assert done["state"] == "failed"
    assert done["error"] == f"{MAX_ATTEMPTS} attempts were cut off"


@pytest.mark.parametrize("state", ["cancelled", "failed", "succeeded"])
async def test_an_import_that_has_ended_is_left_alone(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database, state: str
) -> None:
    made = await submit(api, [row(1)])
    await execute(database, f"UPDATE imports SET state = '{state}', finished_at = now()")
    before = await find(api, made["id"])
    await runner.run(made["id"])

    assert await find(api, made["id"]) == before
    assert await ids(database) == []


async def test_an_import_that_is_not_there_is_no_error(runner: ImportRunner) -> None:
    await runner.run(4711)


async def test_an_import_that_waits_without_a_job_gets_one(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    forgotten = [(await submit(api, [row(number)]))["id"] for number in range(1, 5)]
    await execute(
        database,
        "DELETE FROM procrastinate_jobs",
        f"UPDATE imports SET state = 'running' WHERE id = {forgotten[1]}",
        f"UPDATE imports SET state = 'cancelled', finished_at = now() WHERE id = {forgotten[2]}",
    )
    waiting = await submit(api, [row(5)])
    for _ in range(2):
        await runner.requeue_orphaned()
        jobs = "SELECT (args->>'import_id')::int, status::text, lock FROM procrastinate_jobs"
        assert await fetch_rows(database, f"{jobs} ORDER BY 1") == [
            (number, "todo", "loading")
            for number in (forgotten[0], forgotten[1], forgotten[3], waiting["id"])
        ]
