"""Temporary failures are retried after a pause. Permanent failures are not."""

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from tests.support.csv_files import row
from tests.support.database_faults import failing
from tests.support.imports import find, import_counts, submit
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


def uploads_folder(settings: Settings) -> Path:
    return settings.data_dir / "uploads"


class TestRetry:
    async def test_unavailable_storage_backs_off_until_import_fails(
        self, api: httpx.AsyncClient, runner: ImportRunner, own_settings: Settings
    ) -> None:
        made = await submit(api, [row(1)])
        away = uploads_folder(own_settings).rename(own_settings.data_dir / "away")
        uploads_folder(own_settings).write_text("no folder")
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
        # The import has failed, so the same bytes can be uploaded again.
        uploads_folder(own_settings).unlink()
        away.rename(uploads_folder(own_settings))
        assert (await submit(api, [row(1)]))["id"] > made["id"]

    async def test_storage_available_again_succeeds(
        self, api: httpx.AsyncClient, runner: ImportRunner, own_settings: Settings
    ) -> None:
        made = await submit(api, [row(1)])
        away = uploads_folder(own_settings).rename(own_settings.data_dir / "away")
        uploads_folder(own_settings).write_text("no folder")
        await runner.run(made["id"])
        uploads_folder(own_settings).unlink()
        away.rename(uploads_folder(own_settings))
        await runner.run(made["id"])

        done = await find(api, made["id"])
        assert (done["state"], done["error"], import_counts(done)) == (
            "succeeded",
            None,
            {"inserted": 1},
        )

    @pytest.mark.parametrize("options", [{}, {"strict": True}, {"dry_run": True}])
    async def test_database_error_in_chunk_is_retried(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        database: Database,
        options: dict[str, bool],
    ) -> None:
        made = await submit(api, [row(number) for number in range(1, 30)], **options)
        async with failing(database, "import_chunks", "NEW.number = 1"):
            await runner.run(made["id"])
        waiting = await find(api, made["id"])
        assert (waiting["state"], waiting["error"]) == ("queued", DATABASE)

        await runner.run(made["id"])
        assert import_counts(await find(api, made["id"])) == {"inserted": 29}

    async def test_unavailable_database_leaves_import_to_later_job(
        self, own_settings: Settings, uploads: UploadStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        nowhere = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
        async with Database(DatabaseUrls(nowhere, nowhere), own_settings) as database:
            await ImportRunner(database, uploads).run(1)

        assert f"import 1 could not be begun: {DATABASE}" in caplog.messages

    async def test_unstored_final_state_is_stored_by_next_run(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        made = await submit(api, b"not a file of deals")
        async with failing(database, "imports", "NEW.state = 'failed'", on="UPDATE"):
            await runner.run(made["id"])
        assert (await find(api, made["id"]))["state"] == "running"
        await runner.run(made["id"])

        assert (await find(api, made["id"]))["state"] == "failed"


class TestFinalFailure:
    async def test_unexpected_error_hides_its_details(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        made = await submit(api, [row(1)])
        # This code is in no list of errors.
        async with failing(database, "deals", "true", sqlstate="XX001"):
            await runner.run(made["id"])

        done = await find(api, made["id"])
        assert (done["state"], done["error"], import_counts(done)) == ("failed", UNEXPECTED, {})
        assert await ids(database) == []

    async def test_full_disk_hides_paths_of_worker(
        self, api: httpx.AsyncClient, runner: ImportRunner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def raise_no_space(**_: object) -> NoReturn:
            raise OSError(errno.ENOSPC, "No space left on device")

        made = await submit(api, [row(1)])
        monkeypatch.setattr("tempfile.TemporaryFile", raise_no_space)
        await runner.run(made["id"])

        error = (await find(api, made["id"]))["error"]
        assert error is not None
        assert error.startswith("The worker could not write its temporary files")

    async def test_too_many_attempts_fails_import(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        made = await submit(api, [row(1)])
        await execute(database, f"UPDATE imports SET state = 'running', attempt = {MAX_ATTEMPTS}")
        await runner.run(made["id"])

        done = await find(api, made["id"])
        assert done["state"] == "failed"
        assert done["error"].startswith(f"{MAX_ATTEMPTS} attempts were interrupted; ")


class TestNothingToDo:
    @pytest.mark.parametrize("state", ["cancelled", "failed", "succeeded"])
    async def test_finished_import_is_unchanged(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database, state: str
    ) -> None:
        made = await submit(api, [row(1)])
        await execute(database, f"UPDATE imports SET state = '{state}', finished_at = now()")
        before = await find(api, made["id"])
        await runner.run(made["id"])

        assert await find(api, made["id"]) == before
        assert await ids(database) == []

    async def test_unknown_import_is_ignored(self, runner: ImportRunner) -> None:
        await runner.run(4711)


class TestRequeueOrphaned:
    async def test_unfinished_import_without_job_gets_one(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        orphaned = [(await submit(api, [row(number)]))["id"] for number in range(1, 5)]
        await execute(
            database,
            "DELETE FROM procrastinate_jobs",
            f"UPDATE imports SET state = 'running' WHERE id = {orphaned[1]}",
            f"UPDATE imports SET state = 'cancelled', finished_at = now() WHERE id = {orphaned[2]}",
        )
        waiting = await submit(api, [row(5)])
        for _ in range(2):
            await runner.requeue_orphaned()
            jobs = "SELECT (args->>'import_id')::int, status::text, lock FROM procrastinate_jobs"
            assert await fetch_rows(database, f"{jobs} ORDER BY 1") == [
                (number, "todo", "loading")
                for number in (orphaned[0], orphaned[1], orphaned[3], waiting["id"])
            ]
