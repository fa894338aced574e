"""A killed load leaves whole chunks, and the next load stores the rest."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.csv_files import rows_with_conflicts, write
from tests.support.database_faults import gate, wait_for_rows
from tests.support.stored_rows import content, execute, fetch_rows

from app.db.session import Database
from app.services.load_reports import LoadSummary
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration

CHUNK_ROWS = 250
ROWS = 6000

_LOAD = """
import asyncio, sys, pathlib
from app.core.config import Settings
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.services.loading import LoadingService

async def main(url, path, rows):
    report = lambda progress: print(progress.rows_read, flush=True)
    async with Database(DatabaseUrls(url, url), Settings(_env_file=None)) as database:
        loading = LoadingService(database)
        await loading.load(pathlib.Path(path), chunk_rows=int(rows), progress=report)

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True)
class CompleteLoad:
    """The summary and the stored rows of an undisturbed load of a file."""

    path: Path
    chunk_rows: int
    summary: LoadSummary
    content: list[tuple[Any, ...]]


async def load_file(database: Database, path: Path, chunk_rows: int) -> CompleteLoad:
    summary = await LoadingService(database).load(path, chunk_rows=chunk_rows)
    return CompleteLoad(path, chunk_rows, summary, await content(database))


async def load_again(database: Database, complete: CompleteLoad) -> int:
    """Load the file again, and return how many deals the killed load had stored."""
    await wait_until_no_load_runs(database)
    left = await content(database)
    assert set(map(str, left)) <= set(map(str, complete.content))
    assert chunk_sizes(left, complete.chunk_rows) <= chunk_sizes(
        complete.content, complete.chunk_rows
    )
    assert await fetch_rows(database, "SELECT 1 FROM hotels WHERE deal_count = 0") == []
    again = await load_file(database, complete.path, complete.chunk_rows)
    assert again.content == complete.content
    expected, found = complete.summary, again.summary
    assert found.unchanged == len(left)
    assert found.inserted + found.unchanged == expected.inserted
    assert (found.duplicates, found.rejected) == (expected.duplicates, expected.rejected)
    return len(left)


EMPTY = ("DELETE FROM deals", "DELETE FROM hotels", "DELETE FROM categories")


async def test_load_killed_in_chunk_resumes_without_duplicates(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    complete = await load_file(
        database, write(tmp_path / "deals.csv", rows_with_conflicts(1000)), 100
    )
    await execute(database, *EMPTY)
    async with gate(database, "deals", "NEW.external_id = 550") as halt:
        process = start_load(database_url, complete)
        await halt.wait_until_blocked()
        process.kill()
        await asyncio.to_thread(process.communicate)
    # The chunks before it are stored, and this one is not.
    assert 0 < await load_again(database, complete) < len(complete.content)


@pytest.mark.slow
async def test_load_killed_at_random_moments_resumes_without_duplicates(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    complete = await load_file(
        database, write(tmp_path / "deals.csv", rows_with_conflicts(ROWS)), CHUNK_ROWS
    )
    assert complete.summary.rejected > 100
    moments = random.Random(20261120)  # noqa: S311 - which moments is no secret
    partial = 0
    for _ in range(6):
        await execute(database, *EMPTY)
        kill_load(database_url, complete, after_rows=moments.randrange(0, ROWS * 3 // 4))
        partial += 0 < await load_again(database, complete) < len(complete.content)
    # The number depends on how soon this process sees the other's output.
    assert partial > 0


def chunk_sizes(deals: list[tuple[Any, ...]], chunk_rows: int) -> set[tuple[int, int]]:
    """Return the stored chunks of the file, each with its number of stored rows."""
    stored = {deal[0] for deal in deals}
    return set(Counter((external_id - 1) // chunk_rows for external_id in stored).items())


def start_load(url: str, complete: CompleteLoad) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _LOAD, url, str(complete.path), str(complete.chunk_rows)],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_load(url: str, complete: CompleteLoad, *, after_rows: int) -> None:
    """Send SIGKILL a moment after a load has reported this progress."""
    with start_load(url, complete) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after_rows:
                break
        time.sleep(random.Random(after_rows).uniform(0, 0.03))  # noqa: S311
        process.send_signal(signal.SIGKILL)


async def wait_until_no_load_runs(database: Database) -> None:
    """Wait until the server has noticed that its client is gone."""
    others = """
        SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'hotel-deals%' AND pid <> pg_backend_pid() AND state <> 'idle'
        UNION ALL
        SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'hotel-deals load'
    """
    await wait_for_rows(database, f"SELECT 1 WHERE NOT EXISTS ({others})")
