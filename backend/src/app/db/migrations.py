"""Functions that run and inspect the Alembic migrations from Python."""

import asyncio
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from app.core.errors import ConfigurationError, InvalidInputError
from app.db.errors import database_errors

# The key of the advisory lock of migrations. The number is arbitrary, but no other lock uses it.
MIGRATION_LOCK = 7_364_201_101
# How long a migration waits for a table lock, in PostgreSQL's format.
LOCK_TIMEOUT = "5s"

# Run one migration at a time in this process. Alembic keeps its context in module globals, so two
# threads could migrate each other's databases.
_ONE_AT_A_TIME = threading.Lock()

_CONFIG_FILE = Path(__file__).resolve().parents[3] / "alembic.ini"


def alembic_config(url: str | None = None) -> Config:
    """Return Alembic's configuration for `url`. If `url` is None, the settings' URL is used.

    Raises:
        ConfigurationError: the installation contains no migrations.
    """
    if not _CONFIG_FILE.is_file():
        raise ConfigurationError(f"the migrations are not installed: {_CONFIG_FILE} is missing")
    config = Config(_CONFIG_FILE)
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to `revision`.

    Several processes may call this function at the same time. The calling thread must not run an
    event loop.

    Raises:
        ConfigurationError: the database is newer than this code, or its encoding is not UTF8.
        ServiceUnavailableError: the database does not answer.
        ConflictError: a long transaction holds a lock on a table that a migration must change.
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
    """Run `upgrade` in a thread, for callers inside an event loop."""
    await asyncio.to_thread(upgrade, url, revision)


def known_revisions() -> list[str]:
    """Return the installed revisions, oldest first, or an empty list if none are installed."""
    try:
        scripts = ScriptDirectory.from_config(alembic_config())
    except ConfigurationError:
        return []
    return [script.revision for script in scripts.walk_revisions()][::-1]


def head_revision() -> str:
    """Return the newest installed revision. The code requires a database with this revision."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise ConfigurationError("the schema's history is empty")
    return head
