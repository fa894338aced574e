from pathlib import Path

import pytest

from app.db.session import Database
from app.services.loading import LoadingService


@pytest.fixture
def loading(database: Database) -> LoadingService:
    return LoadingService(database)


@pytest.fixture
def deals(tmp_path: Path) -> Path:
    return tmp_path / "deals.csv"


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "rejects.csv"
