"""An embedded PostgreSQL with deals, and its statistics."""

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
# The time that PostgreSQL's processes may take to apply a changed setting.
_RELOAD_SECONDS = 0.3
# The time after an answer in which a server may still send a ROLLBACK.
_AFTERMATH_SECONDS = 0.02
_STATEMENT = ("LOG:  execute ", "LOG:  statement: ")
# All servers use this key, so that they accept each other's cursors.
SIGNING_KEY = "only-for-measuring-on-this-machine"


class Database:
    """One database, with a separate connection."""

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
        """Return the environment of servers: default settings, independent of `.env`."""
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
        """Return the rows of a query."""
        with self._engine.connect() as connection:
            return connection.execute(sa.text(statement)).all()

    def run(self, statement: str) -> None:
        """Run a statement outside a transaction."""
        with self._engine.connect() as connection:
            connection.execute(sa.text(statement))

    def tidy(self) -> None:
        """Run VACUUM and CHECKPOINT now, so that they do not run during a turn."""
        self.run("VACUUM (ANALYZE)")
        self.run("CHECKPOINT")

    def close(self) -> None:
        """Close the connection. A later query opens a new one."""
        self._engine.dispose()

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of all processes of PostgreSQL so far."""
        return processes.cpu_seconds(self._postmaster) if self._postmaster else None

    def sessions(self) -> int:
        """Return the number of connections made so far."""
        statement = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        return int(self.rows(statement)[0][0])

    @contextmanager
    def logging_statements(self) -> Iterator[None]:
        """Log all statements inside the block, which `statements_of` needs."""
        self._log_statements("all")
        try:
            yield
        finally:
            self._log_statements("none")

    def statements_of(self, work: Callable[[], object]) -> int:
        """Run `work` and return the number of its statements, including `BEGIN` and `COMMIT`."""
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
    """Yield a server with default settings and its folder, and remove both after the block.

    Args:
        require: a check of the folder, called before the server starts.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if require:
            require(folder)
        with embedded_postgres(folder / "data") as server:
            yield server, folder


@contextmanager
def filled(server: EmbeddedServer, folder: Path, rows: int) -> Iterator[Database]:
    """Yield a database with generated deals, loaded by `deals load`, and drop it at the end."""
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
