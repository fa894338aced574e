from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL
from tests.doctor.states import DEALS, Connection, connect, execute
from tests.support.databases import as_text, temporary_database

from app.db.migrations import upgrade_async


@pytest.fixture(scope="session")
async def with_deals(version_url: URL) -> AsyncIterator[str]:
    """The name of a template at head with some deals, on each version of PostgreSQL."""
    async with temporary_database(version_url) as url:
        await upgrade_async(as_text(url))
        await execute(url, DEALS)
        yield str(url.database)


@pytest.fixture
async def url(version_url: URL, with_deals: str) -> AsyncIterator[URL]:
    """A database of the test's own, with deals."""
    async with temporary_database(version_url, with_deals) as url:
        yield url


@pytest.fixture
async def session_of_somebody(url: URL) -> AsyncIterator[Connection]:
    """A connection of somebody else to the database."""
    connection = await connect(url)
    await connection.execute("SET application_name = 'somebody'")
    yield connection
    await connection.close()
