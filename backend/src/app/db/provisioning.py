"""Where the database is: at DATABASE_URL, or embedded in DATA_DIR when that is unset."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from app.core.config import Settings
from app.embedded.server import embedded_postgres


@dataclass(frozen=True)
class DatabaseUrls:
    """SQLAlchemy URLs of the database that takes writes and of the one that answers reads."""

    # Passwords and all, so not to be printed by whoever prints what has them.
    primary: str = field(repr=False)
    replica: str = field(repr=False)
    # Past a pooler of connections, for what needs a session; without one, `primary` again.
    direct: str = field(default="", repr=False)
    # Whether `primary` and `replica` are PgBouncer's.
    pooled: bool = False

    def __post_init__(self) -> None:
        if not self.direct:
            object.__setattr__(self, "direct", self.primary)

    @property
    def exports(self) -> str:
        """Where long reads go: to the replica, if there is one, or else past the pooler."""
        return self.direct if self.replica == self.primary else self.replica

    def past_pooler(self) -> "DatabaseUrls":
        """For processes that hold sessions and long transactions: workers and commands."""
        return DatabaseUrls(self.direct, self.direct if self.pooled else self.replica)


@contextmanager
def provision_database(settings: Settings) -> Iterator[DatabaseUrls]:
    """The database's URLs, valid inside the block.

    Starts the embedded PostgreSQL when no URL is set and keeps it for the length of the block;
    it stops with its last user in any process.

    Raises:
        EmbeddedPostgresError: it cannot run here.
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
    """`provision_database`, with its waiting done in a thread."""
    block = provision_database(settings)
    urls = await asyncio.to_thread(block.__enter__)
    try:
        yield urls
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)
