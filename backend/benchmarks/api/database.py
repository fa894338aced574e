"""An embedded PostgreSQL with deals, and what it says of itself."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.core.config import Settings
from app.db.migrations import upgrade
from app.embedded.server import EmbeddedServer, embedded_postgres
from benchmarks.api import processes
from benchmarks.api.errors import BenchmarkError

DEALS = Path(sys.executable).with_name("deals")
# How long PostgreSQL may take to tell its processes of a changed setting.
_RELOAD_SECONDS = 0.3
# How long after its answer a server may still send a ROLLBACK.
_AFTERMATH_SECONDS = 0.02
_STATEMENT = ("LOG:  execute ", "LOG:  statement: ")
# For the servers as well, so that cursors of one are good for the other.
SIGNING_KEY = "only-for-measuring-on-this-machine"


class Database:
    """One database, on a connection of its own."""

    def __init__(self, server: EmbeddedServer, name: str, folder: Path) -> None:
        self._log = server.log_file
        self._folder = folder
        self.name = name
        self.url = server.url(name)
        self._engine = sa.create_engine(
            server.url(name, driver="psycopg2"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.pool.StaticPool,
        )
        self._postmaster = processes.parent(self.rows("SELECT pg_backend_pid()")[0][0])

    @property
    def environment(self) -> dict[str, str]:
        """For processes that use it: settings by their defaults, whatever `.env` and we have."""
        defaults = {
            name.upper(): "" if field.default in (None, ()) else str(field.default)
            for name, field in Settings.model_fields.items()
        }
        return {
            **os.environ,
            **defaults,
            "DATABASE_URL": self.url,
            "DATA_DIR": str(self._folder),
            "SIGNING_KEY": SIGNING_KEY,
            "LOG_FORMAT": "json",
            "FLOOR_DSN": self.url.replace("+asyncpg", ""),
        }

    def rows(self, statement: str) -> Sequence[Any]:
        """What a query finds."""
        with self._engine.connect() as connection:
            return connection.execute(sa.text(statement)).all()

    def run(self, statement: str) -> None:
        """Run a statement as it stands, outside a transaction."""
        with self._engine.connect() as connection:
            connection.execute(sa.text(statement))

    def tidy(self) -> None:
        """Do now what autovacuum and the checkpointer would do in the middle of a turn."""
        self.run("VACUUM (ANALYZE)")
        self.run("CHECKPOINT")

    def close(self) -> None:
        """Let go of the database; what is asked after that is asked on another connection."""
        self._engine.dispose()

    def cpu_seconds(self) -> float | None:
        """CPU time of all processes of PostgreSQL so far."""
        return processes.cpu_seconds(self._postmaster) if self._postmaster else None

    def sessions(self) -> int:
        """How many connections have been made so far."""
        statement = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        return int(self.rows(statement)[0][0])

    @contextmanager
    def logging_statements(self) -> Iterator[None]:
        """For the length of the block, `statements_of` can count."""
        self._log_statements("all")
        try:
            yield
        finally:
            self._log_statements("none")

    def statements_of(self, work: Callable[[], object]) -> int:
        """How many statements PostgreSQL gets while `work` is done, `BEGIN` and `COMMIT` too."""
        start = self._log.stat().st_size
        work()
        time.sleep(_AFTERMATH_SECONDS)
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return sum(any(mark in line for mark in _STATEMENT) for line in lines)

    def _log_statements(self, which: str) -> None:
        self.run(f"ALTER SYSTEM SET log_statement = '{which}'")
        self.run("SELECT pg_reload_conf()")
        time.sleep(_RELOAD_SECONDS)


@contextmanager
def postgres(
    require: Callable[[Path], None] | None = None,
) -> Iterator[tuple[EmbeddedServer, Path]]:
    """A server with its default settings and a folder, both gone with the block.

    Args:
        require: is asked about the folder first.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if require:
            require(folder)
        with embedded_postgres(folder / "data") as server:
            yield server, folder


@contextmanager
def filled(server: EmbeddedServer, folder: Path, rows: int) -> Iterator[Database]:
    """A database with generated deals, filled as a user would; dropped at the end."""
    name = f"deals_{rows}"
    outside = Database(server, "postgres", folder)
    outside.run(f"CREATE DATABASE {name}")
    database = Database(server, name, folder)
    try:
        file = folder / f"{name}.csv"
        upgrade(database.url)
        _deals(["generate", "--rows", str(rows), "--out", str(file)], database)
        _deals(["load", str(file)], database)
        file.unlink()
        database.tidy()
        yield database
    finally:
        database.close()
        outside.close()
        outside.run(f"DROP DATABASE {name} WITH (FORCE)")
        outside.close()


def _deals(arguments: list[str], database: Database) -> None:
    result = subprocess.run(
        [str(DEALS), *arguments],
        env=database.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise BenchmarkError(f"deals {arguments[0]} failed: {result.stderr.strip()[-2000:]}")
