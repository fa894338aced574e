"""Workers that are killed or hang in the middle of an import: another worker completes it."""

import asyncio
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.jobs.workers import (
    ATTEMPTS,
    CHUNKS,
    EVENTS,
    HEARTBEAT,
    JOBS,
    Import,
    LocalWorkers,
    Rows,
    Workers,
    get_import,
    kill,
    upload,
    wait_finished,
    wait_rows,
)
from tests.support.csv_files import counts, rows_with_conflicts, write
from tests.support.database_faults import gate
from tests.support.stored_rows import content, execute
from tests.support.waiting import wait_for

from app.db.session import Database
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration

# Many chunks that take a moment each.
ROWS = 2_000
CHUNK_ROWS = 50
COUNTERS = ("inserted", "updated", "unchanged", "duplicates", "rejected", "held_back")
_TRANSACTIONS = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction'
"""


@dataclass(frozen=True)
class ExpectedLoad:
    """The rows and the rejects after an undisturbed load of a file. The rows are removed again."""

    path: Path
    content: list[tuple[Any, ...]]
    counts: dict[str, int]
    rejects: str


@pytest.fixture
async def expected_load(database: Database, tmp_path: Path) -> ExpectedLoad:
    """Load a file with late hotels, conflicts and repeated ids without a disturbance."""
    path = write(tmp_path / "deals.csv", rows_with_conflicts(ROWS))
    rejects = tmp_path / "rejects.csv"
    summary = await LoadingService(database).load(path, rejects=rejects, chunk_rows=CHUNK_ROWS)
    found = await content(database)
    await execute(database, "DELETE FROM deals", "DELETE FROM hotels", "DELETE FROM categories")
    return ExpectedLoad(path, found, counts(summary), rejects.read_text(encoding="utf-8"))


async def assert_import_complete(
    expected_load: ExpectedLoad,
    api: httpx.AsyncClient,
    made: Import,
    database: Database,
    rows: Rows,
) -> Import:
    """Check that the import ends as if undisturbed, and that no row is stored twice."""
    done = await wait_finished(api, made)
    assert await content(database) == expected_load.content
    assert {name: done[name] for name in COUNTERS if done[name]} == expected_load.counts
    assert (await api.get(done["links"]["rejects"])).text == expected_load.rejects
    assert await rows.one(CHUNKS, made["id"]) == list(range(-(-ROWS // CHUNK_ROWS)))
    await wait_for(lambda: _all_jobs_succeeded(rows), "the job is done")
    return done


async def _all_jobs_succeeded(rows: Rows) -> bool:
    return set(await rows(JOBS)) == {("succeeded",)}


async def wait_for_next_attempt(rows: Rows, made: Import, attempt: int) -> None:
    """Wait until the next attempt begins."""

    async def is_next() -> bool:
        return bool(await rows.one(ATTEMPTS, made["id"]) > attempt)

    await wait_for(is_next, "another worker begins the next attempt")


@pytest.mark.slow
async def test_worker_killed_repeatedly_import_completes(
    expected_load: ExpectedLoad,
    api: httpx.AsyncClient,
    workers: Workers,
    database: Database,
    rows: Rows,
) -> None:
    # Slow every chunk down, so that the last worker has something left.
    await execute(
        database,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON import_chunks FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    made = await upload(api, expected_load.path)
    chance = random.Random(20261121)  # noqa: S311 - which moments is no secret
    for _ in range(5):
        worker = workers.start(chunk_rows=CHUNK_ROWS)
        await wait_rows(
            api,
            made,
            (await get_import(api, made))["rows_read"] + chance.randrange(1, 4 * CHUNK_ROWS),
        )
        await asyncio.sleep(chance.uniform(0, 0.1))
        kill(worker)
    workers.start(chunk_rows=CHUNK_ROWS)
    await assert_import_complete(expected_load, api, made, database, rows)
    # At least one attempt for each worker: a busy machine can make a live worker look dead.
    assert await rows.one(ATTEMPTS, made["id"]) >= 6


async def test_worker_killed_in_chunk_next_worker_completes_import(
    expected_load: ExpectedLoad,
    api: httpx.AsyncClient,
    workers: Workers,
    local_workers: LocalWorkers,
    database: Database,
    rows: Rows,
) -> None:
    killed = workers.start(chunk_rows=CHUNK_ROWS)
    async with gate(database, "import_chunks", "NEW.number = 3") as halt:
        made = await upload(api, expected_load.path)
        await halt.wait_until_blocked()
        # This worker is registered when the other one dies, and notices its silence after a while.
        local_workers.start(chunk_rows=CHUNK_ROWS, heartbeat=HEARTBEAT / 2)
        await wait_for(lambda: two_workers_are_registered(rows), "both workers are registered")
        kill(killed)
    await wait_for_next_attempt(rows, made, 1)
    await assert_import_complete(expected_load, api, made, database, rows)


async def two_workers_are_registered(rows: Rows) -> bool:
    return len(await rows("SELECT 1 FROM procrastinate_workers")) == 2


@pytest.mark.slow
async def test_worker_hanging_in_chunk_is_superseded_and_stores_nothing(
    expected_load: ExpectedLoad,
    api: httpx.AsyncClient,
    workers: Workers,
    database: Database,
    rows: Rows,
) -> None:
    made = await upload(api, expected_load.path)
    async with gate(database, "import_chunks", "NEW.number = 3") as halt:
        # Both workers count as dead after nine seconds of silence.
        heartbeat = {"WORKER_HEARTBEAT": "3"}
        hanging = workers.start(chunk_rows=CHUNK_ROWS, **heartbeat)
        await halt.wait_until_blocked()
        hanging.send_signal(signal.SIGSTOP)
        halt.open()
        await wait_for(lambda: rows(_TRANSACTIONS), "the worker hangs in the middle of a chunk")
        workers.start(chunk_rows=CHUNK_ROWS, **heartbeat)
        await wait_for_next_attempt(rows, made, 1)
        so_far = (await get_import(api, made))["rows_read"]
        # The locks of the hanging worker do not block the new one.
        await wait_rows(api, made, so_far + 5 * CHUNK_ROWS)
        hanging.send_signal(signal.SIGCONT)
        await assert_import_complete(expected_load, api, made, database, rows)
    # The resumed worker has neither claimed the import again nor ended its job.
    assert await rows.one(ATTEMPTS, made["id"]) == 2
    assert await rows.one(EVENTS, "started") == 2
    # The resumed worker still works.
    for process in workers.running():
        if process is not hanging:
            kill(process)
    again = await upload(api, expected_load.path, force=True)
    assert (await wait_finished(api, again))["unchanged"] == len(expected_load.content)
