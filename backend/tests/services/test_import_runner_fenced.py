"""Superseded and cancelled imports store nothing more, and a cancellation reports what stays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.support.csv_files import row
from tests.support.database_faults import Gate, gate, wait_for_rows
from tests.support.imports import cancel, find, import_counts, submit
from tests.support.stored_rows import content, fetch_rows, ids

from app.db.session import Database
from app.repositories.imports.write import AttemptRepository, ChunkRecord, ImportWriteRepository
from app.services.import_runner import ImportRunner

pytestmark = pytest.mark.integration

ROWS = [row(number) for number in range(1, 51)]
OPTIONS: list[dict[str, bool]] = [{}, {"strict": True}, {"dry_run": True}]


@asynccontextmanager
async def halted_import(
    database: Database, runner: ImportRunner, import_id: int, chunk: int
) -> AsyncIterator[tuple[Gate, asyncio.Task[None]]]:
    """Yield an import that waits just before it records a chunk."""
    async with gate(database, "import_chunks", f"NEW.number = {chunk}", moment="BEFORE") as halt:
        running = asyncio.create_task(runner.run(import_id))
        await halt.wait_until_blocked()
        try:
            yield halt, running
        finally:
            running.cancel()
            await asyncio.wait([running])


async def wait_for_blocked_update(database: Database, name: str) -> None:
    """Wait until a statement on that table waits for a row lock."""
    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        f"AND wait_event_type = 'Lock' AND query LIKE '%UPDATE {name}%' AND pid <> pg_backend_pid()"
    )
    await wait_for_rows(database, waits)


class TestCancelImport:
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize("chunk", [0, 2])
    async def test_running_import_stores_no_more_than_reported(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        database: Database,
        options: dict[str, bool],
        chunk: int,
    ) -> None:
        """The cancellation waits for the chunk in progress and reports it."""
        made = await submit(api, ROWS, **options)
        async with halted_import(database, runner, made["id"], chunk) as (halt, running):
            cancelling = asyncio.create_task(cancel(api, made["id"]))
            await wait_for_blocked_update(database, "imports")
            halt.open()
            cancelled = await cancelling
            await running

        assert cancelled["state"] == "cancelled"
        assert cancelled["rows_read"] >= (chunk + 1) * 10
        assert await find(api, made["id"]) == cancelled
        stored = await ids(database)
        assert len(stored) == (cancelled["inserted"] if options == {} else 0)
        await runner.run(made["id"])
        assert await find(api, made["id"]) == cancelled
        assert await ids(database) == stored
        again = await cancel(api, made["id"])
        assert again == cancelled

    async def test_queued_import_is_cancelled_immediately(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        made = await submit(api, ROWS)
        cancelled = await cancel(api, made["id"])

        assert (cancelled["state"], cancelled["started_at"], import_counts(cancelled)) == (
            "cancelled",
            None,
            {},
        )
        await runner.run(made["id"])
        assert await find(api, made["id"]) == cancelled
        assert await ids(database) == []

    @pytest.mark.parametrize(("body", "state"), [(ROWS, "succeeded"), (b"x", "failed")])
    async def test_finished_import_returns_409(
        self, api: httpx.AsyncClient, runner: ImportRunner, body: Any, state: str
    ) -> None:
        made = await submit(api, body)
        await runner.run(made["id"])
        response = await api.delete(f"/imports/{made['id']}")

        assert response.status_code == 409
        assert response.json()["error"]["message"] == f"Import {made['id']} has already {state}"
        assert (await find(api, made["id"]))["state"] == state


class TestSupersededAttempt:
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    async def test_runner_ends_without_error(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        database: Database,
        options: dict[str, bool],
    ) -> None:
        """The worker counted as dead, and resumes in the middle of a chunk."""
        made = await submit(api, ROWS, **options)
        async with halted_import(database, runner, made["id"], 1) as (halt, late):
            taking_over = asyncio.create_task(runner.run(made["id"]))
            await wait_for_rows(database, "SELECT 1 FROM imports WHERE attempt = 2")
            halt.open()
            await asyncio.gather(taking_over, late, return_exceptions=True)
            assert taking_over.exception() is None

        done = await find(api, made["id"])
        assert (done["state"], import_counts(done)) == ("succeeded", {"inserted": len(ROWS)})
        assert len(await ids(database)) == (0 if options == {"dry_run": True} else len(ROWS))
        assert await fetch_rows(database, "SELECT failures, attempt FROM imports") == [(0, 2)]
        await content(database)

    async def test_repository_stores_nothing(
        self, api: httpx.AsyncClient, database: Database
    ) -> None:
        made = await submit(api, ROWS)
        async with database.uow.begin() as session:
            for _ in range(2):
                assert (
                    await ImportWriteRepository(session).claim_attempt(made["id"], 10) is not None
                )
        before = await fetch_rows(database, "SELECT imports::text FROM imports")
        chunk = ChunkRecord(0, 10, 10, 0, 0, 0, 0, 100, None, [], {})
        async with database.uow.begin() as session:
            overtaken = AttemptRepository(session, made["id"], 1)
            assert not await overtaken.begin(["id"])
            assert not await overtaken.note(chunk)
            assert not await overtaken.note_merged(1, 2, 3)
            assert not await overtaken.requeue("it was me")
            assert not await overtaken.retry_later("it was me", 1)
            assert not await overtaken.end("succeeded")
        assert await fetch_rows(database, "SELECT imports::text FROM imports") == before
        assert await fetch_rows(database, "SELECT 1 FROM import_chunks") == []
        async with database.uow.begin() as session:
            last = AttemptRepository(session, made["id"], 2)
            assert await last.begin(["id"])
            assert await last.note(chunk)
            assert await last.end("failed", "enough")
            assert not await last.end("succeeded")


class TestImportEndpoints:
    async def test_running_import_shows_counters_and_rejects(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        rows = [row(n) if n % 10 else row(n, id="x") for n in range(1, 51)]
        made = await submit(api, rows)
        async with halted_import(database, runner, made["id"], 3) as (halt, running):
            # Another chunk may be in progress, or be stored before the waiting one.
            now, again = None, await find(api, made["id"])
            while now != again:
                now = again
                response = await api.get(now["links"]["rejects"])
                again = await find(api, made["id"])
            assert now is not None
            assert now["state"] == "running"
            assert now["rows_read"] in {20, 30, 40}
            assert import_counts(now) == {
                "inserted": now["rows_read"] * 9 // 10,
                "rejected": now["rows_read"] // 10,
            }
            assert response.text.count("\n") == 1 + now["rejected"]
            assert 0 < now["bytes_read"] <= now["bytes_total"]
            halt.open()
            await running
        done = await find(api, made["id"])
        assert import_counts(done) == {"inserted": 45, "rejected": 5}

    @pytest.mark.parametrize(
        "path", ["/imports/4711", "/imports/4711/rejects", "/imports/4711/events"]
    )
    async def test_unknown_import_returns_404(self, api: httpx.AsyncClient, path: str) -> None:
        for method in ("GET", "DELETE") if path.endswith("1") else ("GET",):
            response = await api.request(method, path)
            assert response.status_code == 404
            assert response.json()["error"]["message"] == "Import 4711 does not exist"
