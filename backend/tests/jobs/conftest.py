from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from tests.conftest import serving
from tests.jobs.workers import Rows, Workers

from app.config import Settings
from app.main import create_app


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(database_url, tmp_path)
    yield started
    started.end()


@pytest.fixture
async def api(
    database_url: str, settings: Settings, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application that the workers work for."""
    changed = {"database_url": SecretStr(database_url), "data_dir": tmp_path / "data"}
    async with serving(create_app(settings.model_copy(update=changed))) as client:
        yield client


@pytest.fixture
def rows(database_url: str) -> Rows:
    return Rows(database_url)
