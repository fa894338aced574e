from collections.abc import AsyncIterator, Iterator

import pytest
from alembic.config import Config
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from tests.support.databases import as_text, temporary_database

from app.db.migrations import alembic_config


@pytest.fixture
async def url(version_url: URL) -> AsyncIterator[str]:
    """Create an empty database."""
    async with temporary_database(version_url) as url:
        yield as_text(url)


@pytest.fixture
def alembic_config_for(url: str) -> Config:
    return alembic_config(url)


@pytest.fixture(name="alembic_config")
def _alembic_config() -> Config:
    """Return the configuration of pytest-alembic's tests. The next fixture returns the engine."""
    return alembic_config()


@pytest.fixture
def alembic_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
    yield engine
    engine.dispose()
