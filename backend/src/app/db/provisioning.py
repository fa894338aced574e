"""The database to use: DATABASE_URL or, by default, an embedded PostgreSQL in DATA_DIR."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from app.core.config import Settings
from app.embedded.server import embedded_postgres


@dataclass(frozen=True)
class DatabaseUrls:
    """The SQLAlchemy URLs of the primary and the replica. Without a replica they are equal."""

    # The URLs contain passwords, so repr() leaves them out.
    primary: str = field(repr=False)
    replica: str = field(repr=False)
    # The URL of the primary without PgBouncer, for work that needs a database session.
    direct: str = field(default="", repr=False)
    # True if `primary` and `replica` lead to PgBouncer.
    pooled: bool = False

    def __post_init__(self) -> None:
        if not self.direct:
            object.__setattr__(self, "direct", self.primary)

    @property
    def exports(self) -> str:
        """Return the URL for long reads: the replica or, without a replica, the direct URL."""
        return self.direct if self.replica == self.primary else self.replica

    def past_pooler(self) -> "DatabaseUrls":
        """Return URLs without PgBouncer for workers and commands, which hold sessions."""
        return DatabaseUrls(self.direct, self.direct if self.pooled else self.replica)


@contextmanager
def provision_database(settings: Settings) -> Iterator[DatabaseUrls]:
    """Yield the database's URLs, which are valid until the block ends.

    If no URL is set, the embedded PostgreSQL starts, and stops when no process is using it.

    Raises:
        EmbeddedPostgresError: the embedded PostgreSQL cannot run here.
    """
    if settings.database_url is not None:
        primary = settings.database_url.get_secret_value()
        replica = settings.read_database_url
        direct = settings.direct_database_url
        yield DatabaseUrls(
            primary,
            replica.get_secret_value() if replica else primary,
            direct.get_secret_value() if direct else primary,
            pooled=settings.db_pgbouncer,
        )
        return
    version = settings.embedded_postgres_version
    with embedded_postgres(settings.data_dir, version=version) as server:
        yield DatabaseUrls(server.url(), server.url())


@asynccontextmanager
async def provision_database_async(settings: Settings) -> AsyncIterator[DatabaseUrls]:
    """Run `provision_database` without blocking the event loop."""
    block = provision_database(settings)
    urls = await asyncio.to_thread(block.__enter__)
    try:
        yield urls
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)
