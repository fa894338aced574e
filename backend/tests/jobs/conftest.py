from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.jobs.workers import LocalWorkers, Rows, Workers

from app.core.config import Settings


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(database_url, tmp_path)
    yield started
    started.end()


@pytest.fixture
async def local_workers(
    own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[LocalWorkers]:
    """Return a starter of workers on the database and the uploads of `api`."""
    started = LocalWorkers(own_settings)
    yield started
    await started.end()
    told = [record.getMessage() for record in caplog.get_records("call")]
    assert not [message for message in told if "has failed" in message]


@pytest.fixture
def rows(database_url: str) -> Rows:
    return Rows(database_url)
