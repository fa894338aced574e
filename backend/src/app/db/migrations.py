"""Running and inspecting the schema's history from Python."""

import asyncio
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from app.core.errors import ConfigurationError, InvalidInputError
from app.db.errors import database_errors

# Any number, as long as nothing else in the database uses it for an advisory lock.
MIGRATION_LOCK = 7_364_201_101
# How long a migration waits for a table before it gives up, in PostgreSQL's units.
LOCK_TIMEOUT = "5s"

# Alembic keeps its context in module globals: two threads would migrate each other's database.
_ONE_AT_A_TIME = threading.Lock()

_CONFIG_FILE = Path(__file__).resolve().parents[3] / "alembic.ini"


def alembic_config(url: str | None = None) -> Config:
    """Alembic's configuration of this checkout, for `url` or, without one, for the settings'.

    Raises:
        ConfigurationError: the installation carries no migrations.
    """
    if not _CONFIG_FILE.is_file():
        raise ConfigurationError(f"the migrations are not installed: {_CONFIG_FILE} is missing")
    config = Config(_CONFIG_FILE)
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to `revision`.

    Safe to call from several processes at once; must be called where no event loop runs.

    Raises:
        ConfigurationError: the database is not one this code can migrate: newer, or not UTF8.
        ServiceUnavailableError: it does not answer.
        ConflictError: a long transaction holds what a migration must change.
    """
    try:
        with _ONE_AT_A_TIME, database_errors():
            command.upgrade(alembic_config(url), revision)
    except InvalidInputError as error:
        reason = str(getattr(error.__cause__, "orig", error)).splitlines()[0]
        raise ConfigurationError(f"cannot migrate, the data is in the way: {reason}") from error
    except CommandError as error:
        raise ConfigurationError(f"cannot migrate: {error}") from error


async def upgrade_async(url: str, revision: str = "head") -> None:
    """`upgrade`, for callers inside an event loop."""
    await asyncio.to_thread(upgrade, url, revision)


def known_revisions() -> list[str]:
    """Every revision that this code has, the oldest first; none where it carries no migrations."""
    try:
        scripts = ScriptDirectory.from_config(alembic_config())
    except ConfigurationError:
        return []
    return [script.revision for script in scripts.walk_revisions()][::-1]


def head_revision() -> str:
    """The revision this code is written for."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise ConfigurationError("the schema's history is empty")
    return head
