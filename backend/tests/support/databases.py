"""Databases on the tests' server: create, clone and drop."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import URL, make_url

from app.core.config import Settings
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.embedded.server import embedded_postgres

# The service supports these versions. The quick tier runs on the newer one.
VERSIONS = [pytest.param(16, marks=pytest.mark.slow), 18]

# The names of a run's databases contain its id.
RUN_ID = "TEST_RUN_ID"

# The tests can lose data, so the server does not wait for the disk. Shared memory is in the data
# folder, because a killed server leaves its segments in /dev/shm.
SERVER_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
}


def run_id() -> str:
    """Return the id of this run, which tests/plugins/run_folder.py has chosen."""
    return os.environ[RUN_ID]


@contextmanager
def run_server(data_dir: Path) -> Iterator[URL]:
    """Yield the PostgreSQL of the tests: the one at `TEST_DATABASE_URL`, or an embedded one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield make_url(given)
        return
    with embedded_postgres(data_dir, options=SERVER_OPTIONS) as server:
        yield make_url(server.url())


def dsn(url: URL) -> str:
    """Return `url` in the form that asyncpg and psql accept."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def as_text(url: URL) -> str:
    """Return `url` with its password, in the form that settings and SQLAlchemy accept."""
    return url.render_as_string(hide_password=False)


async def create_database(server: URL, name: str, template: str = "template0") -> URL:
    """Create a database, empty or a clone.

    The strategy `file_copy` copies the template's files after a checkpoint, which is cheap without
    fsync. It takes a fifth less CPU time than `wal_log`, which logs every page.
    """
    connection = await asyncpg.connect(dsn(server))
    try:
        await connection.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" ENCODING \'UTF8\' STRATEGY file_copy'
        )
    finally:
        await connection.close()
    return server.set(database=name)


async def drop_database(url: URL, server: URL) -> None:
    """Drop the database and end its connections."""
    connection = await asyncpg.connect(dsn(server))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')
    finally:
        await connection.close()


@asynccontextmanager
async def temporary_database(server: URL, template: str = "template0") -> AsyncIterator[URL]:
    """Create a database, and drop it at the end of the block."""
    url = await create_database(server, f"test_{run_id()}_{uuid4().hex}", template)
    try:
        yield url
    finally:
        await drop_database(url, server)


def pools(url: URL, settings: Settings) -> Database:
    """Return the service's pools on `url`."""
    return Database(DatabaseUrls(as_text(url), as_text(url)), settings)
