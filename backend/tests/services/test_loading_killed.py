"""A load that is killed leaves whole chunks, and the next one finishes the job."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.imports.database import ask, content, run
from tests.imports.files import row, write

from app.db.session import Database
from app.services.loading import LoadingService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CHUNK_ROWS = 250
ROWS = 6000

_LOAD = """
import asyncio, sys, pathlib
from app.config import Settings
from app.db.provision import DatabaseUrls
from app.db.session import Database
from app.services.loading import LoadingService

async def main(url, path, rows):
    database = Database(DatabaseUrls(url, url), Settings(_env_file=None))
    report = lambda progress: print(progress.rows_read, flush=True)
    await LoadingService(database).load(pathlib.Path(path), chunk_rows=int(rows), progress=report)
    await database.dispose()

asyncio.run(main(*sys.argv[1:]))
"""


def rows(count: int = ROWS) -> list[dict[str, str]]:
    """Hotels that come as the file goes on, a conflict and a returning id in every hundred rows."""
    made = []
    for number in range(count):
        hotel = number // 100 if number % 100 < 90 else number % (1 + number // 100)
        fields = {"hotel_name": f"Hotel {hotel}", "hotel_phone": f"+{hotel}"}
        if number % 100 == 50:
            fields["hotel_name"] = "Another"
        identifier = number - 300 if number % 100 == 70 and number > 300 else number + 1
        made.append(row(identifier, **fields, categories=f"c{number % 7},c{number % 3}"))
    return made


async def test_killed_at_any_moment(database: Database, database_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "deals.csv", rows())
    service = LoadingService(database)
    expected = await service.load(path, chunk_rows=CHUNK_ROWS)
    whole = await content(database)
    sizes = chunk_sizes(whole)
    assert expected.rejected > 100
    moments = random.Random(20261120)  # noqa: S311 - which moments is no secret
    partial = 0
    for _ in range(10):
        await run(database, "DELETE FROM deals", "DELETE FROM hotels", "DELETE FROM categories")
        kill_a_load(database_url, path, after_rows=moments.randrange(0, ROWS * 3 // 4))
        await no_load_runs(database)
        left = await content(database)
        assert set(map(str, left)) <= set(map(str, whole))
        assert chunk_sizes(left) <= sizes
        assert await ask(database, "SELECT 1 FROM hotels WHERE deal_count = 0") == []
        partial += 0 < len(left) < len(whole)
        again = await service.load(path, chunk_rows=CHUNK_ROWS)
        assert again.unchanged == len(left)
        assert again.inserted + again.unchanged == expected.inserted
        assert (again.duplicates, again.rejected) == (expected.duplicates, expected.rejected)
        assert await content(database) == whole
    assert partial > 5


def chunk_sizes(deals: list[tuple[Any, ...]]) -> set[tuple[int, int]]:
    """Which chunks of the file are stored, each with how many of its rows are."""
    stored = {deal[0] for deal in deals}
    return set(Counter((external_id - 1) // CHUNK_ROWS for external_id in stored).items())


def kill_a_load(url: str, path: Path, *, after_rows: int) -> None:
    """SIGKILL, a moment after a load has said that it is that far."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LOAD, url, str(path), str(CHUNK_ROWS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after_rows:
                break
        time.sleep(random.Random(after_rows).uniform(0, 0.03))  # noqa: S311
        process.send_signal(signal.SIGKILL)


async def no_load_runs(database: Database) -> None:
    """Wait until the server has noticed that its client is gone."""
    others = """
        SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'hotel-deals%' AND pid <> pg_backend_pid() AND state <> 'idle'
        UNION ALL
        SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'hotel-deals load'
    """
    deadline = time.monotonic() + 30
    while await ask(database, others):
        assert time.monotonic() < deadline
