"""Alembic's environment: the service's settings, one transaction, one migration at a time."""

import asyncio

from alembic import context
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.db import migrations
from app.db.base import Base
from app.db.provisioning import provision_database
from app.models import access, catalog, derived, idempotency, imports

# Importing the models registers their tables in Base.metadata.
MODELS = (access, catalog, derived, idempotency, imports)


def number(
    migration_context: MigrationContext, _revision: object, directives: list[MigrationScript]
) -> None:
    """Give a new revision the next number, so that the sorted file names are the history."""
    heads = migration_context.get_current_heads()
    for directive in directives:
        directive.rev_id = f"{int(heads[0] if heads else 0) + 1:04}"


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether autogenerate compares an object: the job queue's library owns its tables."""
    return not (kind == "table" and (name or "").startswith("procrastinate_"))


def run(connection: Connection) -> None:
    """Migrate the schema to the requested revision in one transaction.

    The advisory lock makes a second process wait until the first has committed. It then finds
    nothing to do. `lock_timeout` limits the wait for table locks: a migration behind a long
    transaction fails with a clear error instead of blocking every request that needs the table.
    """
    require_utf8(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        include_name=is_ours,
        process_revision_directives=number,
    )
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({migrations.MIGRATION_LOCK})"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{migrations.LOCK_TIMEOUT}'"))
        context.run_migrations()


def require_utf8(connection: Connection) -> None:
    """Refuse a database whose encoding cannot store every name.

    Raises:
        ConfigurationError: the database's encoding is not UTF8.
    """
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    connection.rollback()
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database is encoded in {encoding}; create it with ENCODING 'UTF8'"
        )


async def run_with_own_engine(url: str) -> None:
    """Migrate the database at `url` over a new connection."""
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


def main() -> None:
    """Migrate the caller's connection or URL, or the database of the service's settings."""
    given = context.config.attributes.get("connection")
    if isinstance(given, Engine):
        with given.connect() as connection:
            run(connection)
    elif isinstance(given, Connection):
        run(given)
    elif url := context.config.attributes.get("url"):
        asyncio.run(run_with_own_engine(url))
    else:
        with provision_database(load_settings()) as urls:
            asyncio.run(run_with_own_engine(urls.direct))


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    main()
