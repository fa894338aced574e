from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic.config import Config
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from tests.databases import SERVER_OPTIONS, as_text, run_server, temporary_database

from app.db.embedded import embedded_postgres
from app.db.migrations import alembic_config


@pytest.fixture(scope="session", params=[16, 18])
def version_url(request: pytest.FixtureRequest, run_dir: Path) -> Iterator[URL]:
    """A server of each supported version; 18 may be the one at `TEST_DATABASE_URL`."""
    if request.param == 18:
        with run_server(run_dir / "postgres") as url:
            yield url
        return
    with embedded_postgres(
        run_dir / f"postgres{request.param}", version=request.param, options=SERVER_OPTIONS
    ) as server:
        yield make_url(server.url())


@pytest.fixture
async def url(version_url: URL) -> AsyncIterator[str]:
    """An empty database."""
    async with temporary_database(version_url) as url:
        yield as_text(url)


@pytest.fixture
def alembic_config_for(url: str) -> Config:
    return alembic_config(url)


@pytest.fixture(name="alembic_config")
def _alembic_config() -> Config:
    """What pytest-alembic's own tests run with; the engine comes from the next fixture."""
    return alembic_config()


@pytest.fixture
def alembic_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
    yield engine
    engine.dispose()
