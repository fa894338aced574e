"""The settings and the database connection of a command."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.config import Settings, load_settings
from app.db.migrations import upgrade
from app.db.provisioning import provision_database, provision_database_async
from app.db.session import Database
from app.observability.logging import configure_logging


def start() -> Settings:
    """Load the settings and configure logging."""
    settings = load_settings()
    configure_logging(settings)
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the configured database. If the database is embedded, migrate it first."""
    await asyncio.to_thread(upgrade_if_embedded, settings)
    async with (
        provision_database_async(settings) as urls,
        Database(urls.past_pooler(), settings.with_command_timeouts()) as database,
    ):
        yield database


def upgrade_if_embedded(settings: Settings) -> None:
    """Migrate the database to the latest revision if it is embedded.

    The operator decides when to migrate a database at DATABASE_URL.
    """
    if settings.database_url is None:
        with provision_database(settings) as urls:
            upgrade(urls.direct)
