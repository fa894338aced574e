from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL
from tests.doctor.states import INSERT_DEALS, Connection, connect, execute_script
from tests.support.databases import as_text, temporary_database

from app.db.migrations import upgrade_async


@pytest.fixture(scope="session")
async def deals_template(version_url: URL) -> AsyncIterator[str]:
    """Return the name of a template at head with some deals, on each version of PostgreSQL."""
    async with temporary_database(version_url) as url:
        await upgrade_async(as_text(url))
        await execute_script(url, INSERT_DEALS)
        yield str(url.database)


@pytest.fixture
async def url(version_url: URL, deals_template: str) -> AsyncIterator[URL]:
    """Create a database with deals for one test."""
    async with temporary_database(version_url, deals_template) as url:
        yield url


@pytest.fixture
async def client_connection(url: URL) -> AsyncIterator[Connection]:
    """Open a client's connection to the database. Findings name it `somebody`."""
    connection = await connect(url)
    await connection.execute("SET application_name = 'somebody'")
    yield connection
    await connection.close()
