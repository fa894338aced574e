"""Housekeeping removes expired rows and files, and nothing else."""

import os
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.support.csv_files import row
from tests.support.database_faults import failing
from tests.support.imports import checked, find, stored_files, submit
from tests.support.stored_rows import execute, fetch_rows

from app.core.config import Settings
from app.db.session import Database
from app.services import housekeeping
from app.services.housekeeping import HousekeepingService
from app.services.import_runner import ImportRunner
from app.storage.uploads import UploadStore

pytestmark = pytest.mark.integration

DAY = 24 * 3600


@pytest.fixture
def housekeeping_service(
    database: Database, uploads: UploadStore, own_settings: Settings
) -> HousekeepingService:
    return HousekeepingService(database, uploads, own_settings)


async def finish_import(database: Database, import_id: int, days: float) -> None:
    """Set the end of an import to so long ago."""
    await execute(
        database,
        "UPDATE imports SET state = 'succeeded', "
        f"finished_at = now() - interval '{days} days' WHERE id = {import_id}",
    )


async def put_upload(uploads: UploadStore, settings: Settings, name: str, days: float) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"x"

    await uploads.put(name, content())
    at = time.time() - days * DAY
    os.utime(settings.data_dir / "uploads" / f"{name}.upload", (at, at))


class TestUploads:
    async def test_past_retention_are_removed(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        own_settings: Settings,
        runner: ImportRunner,
    ) -> None:
        old, young, waiting = [await submit(api, [row(number)]) for number in (1, 2, 3)]
        await finish_import(database, old["id"], 7.1)
        await finish_import(database, young["id"], 6.9)
        await execute(database, "UPDATE imports SET created_at = now() - interval '30 days'")

        assert (await housekeeping_service.run())["uploads"] == 1
        assert (await housekeeping_service.run())["uploads"] == 0
        assert len(stored_files(own_settings)) == 2
        kept = "SELECT id FROM imports WHERE object_name IS NOT NULL ORDER BY id"
        assert await fetch_rows(database, kept) == [(young["id"],), (waiting["id"],)]
        # The import still counts for its bytes, and clients can read it.
        assert (await find(api, old["id"]))["state"] == "succeeded"
        await runner.run(waiting["id"])
        assert (await find(api, waiting["id"]))["state"] == "succeeded"

    async def test_missing_file_clears_its_name(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        own_settings: Settings,
    ) -> None:
        made = await submit(api, [row(1)])
        await finish_import(database, made["id"], 8)
        [(name,)] = await fetch_rows(database, "SELECT object_name FROM imports")
        (own_settings.data_dir / "uploads" / f"{name}.upload").unlink()

        assert (await housekeeping_service.run())["uploads"] == 1
        assert await fetch_rows(database, "SELECT object_name FROM imports") == [(None,)]


class TestOrphanedUploads:
    async def test_older_than_a_day_are_removed(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        own_settings: Settings,
        uploads: UploadStore,
    ) -> None:
        await submit(api, [row(1)])
        [(mine,)] = await fetch_rows(database, "SELECT object_name FROM imports")
        at = time.time() - 3 * DAY
        os.utime(own_settings.data_dir / "uploads" / f"{mine}.upload", (at, at))
        await put_upload(uploads, own_settings, "old", 1.1)
        await put_upload(uploads, own_settings, "young", 0.9)
        # A file of a process that was killed during an upload, and a file of another program.
        for name in ("cut.upload#1", "notes.txt"):
            (own_settings.data_dir / "uploads" / name).write_text("x")
            os.utime(own_settings.data_dir / "uploads" / name, (at, at))

        assert (await housekeeping_service.run())["orphans"] == 2
        assert stored_files(own_settings) == sorted([f"{mine}.upload", "notes.txt", "young.upload"])


class TestRejects:
    async def test_past_retention_are_removed_and_stay_counted(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        runner: ImportRunner,
    ) -> None:
        rows = [row(n) if n % 5 else row(n, id="x") for n in range(1, 41)]
        old, young = await submit(api, rows), await submit(api, rows[:-1])
        for made, days in ((old, 30.1), (young, 29.9)):
            await runner.run(made["id"])
            await finish_import(database, made["id"], days)
        before = await find(api, old["id"])
        chunks = 4

        assert (await housekeeping_service.run())["rejects"] == chunks
        assert (await housekeeping_service.run())["rejects"] == 0
        after = await find(api, old["id"])
        assert after["links"].pop("rejects") is None
        before["links"].pop("rejects")
        assert after == before
        assert after["rejected"] == 8
        response = await api.get(f"/imports/{old['id']}/rejects")
        assert response.status_code == 404
        assert response.json()["error"]["message"] == (
            f"The rejected rows of import {old['id']} have expired and are deleted"
        )
        assert (await api.get(f"/imports/{young['id']}/rejects")).text.count("\n") == 1 + 7

    async def test_partly_removed_return_404(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        runner: ImportRunner,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A partial list of rejects would look complete."""
        made = await submit(api, [row(n, id="x") for n in range(1, 41)])
        await runner.run(made["id"])
        await finish_import(database, made["id"], 31)
        monkeypatch.setattr(housekeeping, "BATCH", 3)
        monkeypatch.setattr(housekeeping, "MOST_BATCHES", 1)

        assert (await housekeeping_service.run())["rejects"] == 3
        assert (await find(api, made["id"]))["links"]["rejects"] is None
        assert (await api.get(f"/imports/{made['id']}/rejects")).status_code == 404
        listed = (await api.get("/imports")).json()["items"]
        assert [checked(each)["links"]["rejects"] for each in listed] == [None]


class TestIdempotencyKeys:
    async def test_keys_older_than_a_day_are_removed(
        self, api: httpx.AsyncClient, database: Database, housekeeping_service: HousekeepingService
    ) -> None:
        hotel = {"city": "Berlin", "country": "Germany"}
        for key in ("old", "young"):
            response = await api.post(
                "/hotels",
                json={**hotel, "name": key, "phone": key},
                headers={"Idempotency-Key": key},
            )
            assert response.status_code == 201, response.text
        await execute(
            database,
            "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
            " WHERE key = 'old'",
        )

        assert (await housekeeping_service.run())["idempotency keys"] == 1
        assert await fetch_rows(database, "SELECT key FROM idempotency_keys") == [("young",)]


class TestRun:
    async def test_nothing_old_removes_nothing(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        housekeeping_service: HousekeepingService,
    ) -> None:
        made = await submit(api, [row(1), row(2, id="x")])
        await runner.run(made["id"])
        before = await find(api, made["id"])

        assert set((await housekeeping_service.run()).values()) == {0}
        assert await find(api, made["id"]) == before

    async def test_many_uploads_are_removed_in_bounded_runs(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        own_settings: Settings,
        uploads: UploadStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for number in range(1, 8):
            await finish_import(database, (await submit(api, [row(number)]))["id"], 8)
            await put_upload(uploads, own_settings, f"orphan{number}", 2)
        monkeypatch.setattr(housekeeping, "BATCH", 2)
        monkeypatch.setattr(housekeeping, "MOST_BATCHES", 2)
        done = [await housekeeping_service.run() for _ in range(3)]

        assert [each["uploads"] for each in done] == [4, 3, 0]
        assert [each["orphans"] for each in done] == [4, 3, 0]
        assert stored_files(own_settings) == []

    async def test_one_kind_failing_does_not_stop_the_others(
        self,
        api: httpx.AsyncClient,
        database: Database,
        housekeeping_service: HousekeepingService,
        own_settings: Settings,
        runner: ImportRunner,
    ) -> None:
        made = await submit(api, [row(1, id="x")])
        await runner.run(made["id"])
        await finish_import(database, made["id"], 31)
        folder = own_settings.data_dir / "uploads"
        folder.rename(own_settings.data_dir / "away")
        folder.write_text("no folder")

        assert await housekeeping_service.run() == {"rejects": 1, "idempotency keys": 0}
        folder.unlink()
        (own_settings.data_dir / "away").rename(folder)
        await execute(database, "UPDATE import_chunks SET rejects = ''")
        async with failing(database, "import_chunks", "true", on="UPDATE"):
            assert await housekeeping_service.run() == {
                "uploads": 1,
                "orphans": 0,
                "idempotency keys": 0,
            }

    async def test_unavailable_table_raises_nothing(
        self,
        database: Database,
        uploads: UploadStore,
        own_settings: Settings,
        housekeeping_service: HousekeepingService,
    ) -> None:
        await execute(database, "ALTER TABLE imports RENAME TO elsewhere")

        assert await housekeeping_service.run() == {"orphans": 0, "idempotency keys": 0}
