"""The settings and the database of a command."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.config import Settings, load_settings
from app.db.migrations import upgrade
from app.db.provisioning import provision_database, provision_database_async
from app.db.session import Database
from app.observability.logging import configure_logging


def start() -> Settings:
    """The settings; from here on there is a log."""
    settings = load_settings()
    configure_logging(settings)
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The database, at head if it is an embedded one."""
    await asyncio.to_thread(upgrade_if_embedded, settings)
    async with (
        provision_database_async(settings) as urls,
        Database(urls.past_pooler(), settings.with_command_timeouts()) as database,
    ):
        yield database


def upgrade_if_embedded(settings: Settings) -> None:
    """An embedded database may be new; one at DATABASE_URL is migrated when its operator says."""
    if settings.database_url is None:
        with provision_database(settings) as urls:
            upgrade(urls.direct)
