"""A worker runs imports, and stops on a signal."""

import asyncio
import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.jobs.workers import (
    ATTEMPTS,
    CHUNKS,
    JOBS,
    LocalWorkers,
    Rows,
    Workers,
    deals_csv,
    stop,
    upload,
    wait_finished,
)
from tests.support.database_faults import gate, wait_for_rows
from tests.support.listeners import LISTENING
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for

from app.db.session import Database

pytestmark = pytest.mark.integration


async def is_registered(rows: Rows) -> bool:
    return bool(await rows("SELECT 1 FROM procrastinate_workers"))


async def test_worker_queued_import_completes_and_sends_events(
    api: httpx.AsyncClient,
    local_workers: LocalWorkers,
    rows: Rows,
    database: Database,
    tmp_path: Path,
) -> None:
    made = await upload(api, deals_csv(tmp_path / "deals.csv", 300))
    assert (made["state"], made["started_at"], made["rows_read"]) == ("queued", None, 0)
    watching = asyncio.create_task(api.get(made["links"]["events"], timeout=TIMEOUT))
    await wait_for_rows(database, LISTENING)
    local_workers.start(chunk_rows=50)

    body = (await watching).text
    events: list[dict[str, Any]] = [
        json.loads(line.removeprefix("data:"))
        for line in body.splitlines()
        if line.startswith("data:")
    ]

    assert events[0] == made
    assert events[-1] == await wait_finished(api, made)
    read = [event["rows_read"] for event in events]
    assert read == sorted(read)
    assert (read[-1], events[-1]["inserted"]) == (300, 300 - events[-1]["rejected"])
    # A moment after the import, its job ends.
    await wait_for(lambda: _job_states_are(rows, ["succeeded"]), "the job is done")
    assert await rows.one(CHUNKS, made["id"]) == list(range(6))


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
async def test_worker_idle_stops_on_signal(
    workers: Workers, rows: Rows, number: signal.Signals
) -> None:
    worker = workers.start()
    await wait_for(lambda: is_registered(rows), "the worker is registered")

    assert await stop(worker, number) == 0

    assert not await is_registered(rows)


async def test_worker_busy_stops_within_grace_and_next_resumes(
    api: httpx.AsyncClient,
    local_workers: LocalWorkers,
    rows: Rows,
    database: Database,
    tmp_path: Path,
) -> None:
    made = await upload(api, deals_csv(tmp_path / "deals.csv", 600))
    later = await upload(api, deals_csv(tmp_path / "later.csv", 10))
    worker = local_workers.start(chunk_rows=20, grace_seconds=0.1)
    async with gate(database, "import_chunks", "NEW.number = 5") as halt:
        await halt.wait_until_blocked()

        await worker.stop()

    assert await rows(JOBS) == [("todo",), ("todo",)]
    before = (await api.get(made["links"]["self"])).json()
    assert (before["state"], before["error"]) == ("queued", "The worker was stopped")
    assert await rows.one("SELECT failures FROM imports WHERE id = $1", made["id"]) == 0
    assert 40 <= before["rows_read"] < 600
    local_workers.start(chunk_rows=20)
    done = await wait_finished(api, made)
    assert done["started_at"] == before["started_at"]
    assert done["rows_read"] == 600
    assert done["error"] is None
    assert await rows.one(CHUNKS, made["id"]) == list(range(30))
    assert await rows.one(ATTEMPTS, made["id"]) == 2
    # Imports run in the order of their upload.
    assert (await wait_finished(api, later))["started_at"] >= done["finished_at"]


async def test_worker_start_requeues_import_without_job(
    api: httpx.AsyncClient, local_workers: LocalWorkers, rows: Rows, tmp_path: Path
) -> None:
    made = await upload(api, deals_csv(tmp_path / "deals.csv", 20))
    await rows("DELETE FROM procrastinate_jobs")
    local_workers.start()
    local_workers.start()

    assert (await wait_finished(api, made))["inserted"] > 0

    assert await rows.one(ATTEMPTS, made["id"]) == 1
    await wait_for(lambda: _job_states_are(rows, ["succeeded"]), "the only job is done")


async def _job_states_are(rows: Rows, states: list[str]) -> bool:
    return [state for (state,) in await rows(JOBS)] == states


async def test_workers_two_run_six_imports_one_at_a_time(
    api: httpx.AsyncClient, local_workers: LocalWorkers, rows: Rows, tmp_path: Path
) -> None:
    # Long intervals, so that no worker finds the end of the job before it by polling.
    for _ in range(2):
        local_workers.start()
    # All files have the same ids with other rows, and some share hotels.
    files = [deals_csv(tmp_path / f"{n}.csv", 20 + n, seed=n // 2) for n in range(6)]

    made = await asyncio.gather(*(upload(api, file) for file in files))
    done = [await wait_finished(api, each) for each in made]

    assert [each["rows_read"] for each in done] == [20 + n for n in range(6)]
    assert await rows("SELECT DISTINCT attempt FROM imports") == [(1,)]
    await wait_for(lambda: _job_states_are(rows, ["succeeded"] * 6), "the jobs are done")
    in_turn = sorted(done, key=lambda each: each["started_at"])
    for earlier, later in pairwise(in_turn):
        assert earlier["finished_at"] <= later["started_at"]
