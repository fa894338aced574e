"""The doctor's database connection, for short read-only transactions.

Unlike the service's connections, the doctor's connection does not override settings such as jit
when it opens, so that the doctor sees the same values as other clients.
"""

import re
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import asyncpg
from sqlalchemy import Executable, make_url

from app.core.errors import DatabaseUnreachableError, NotSeenError
from app.db.driver import CONNECTION_ERRORS, DriverConnection, driver_arguments
from app.db.reader import prepared

APPLICATION = "hotel-deals doctor"

# Limits that keep the doctor from slowing down a busy server or blocking other sessions.
STATEMENT_SECONDS = 3.0
LOCK_SECONDS = 0.3

_PORT = 5432
_WITH_PORT = re.compile(r":\d+$")

# Errors that mean a lost connection: SQLSTATEs 08xxx, 57P01 and 57P02, and errors of the driver.
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    *CONNECTION_ERRORS,
)

# For each SQLSTATE of a refused connection: the kind of problem and the advice.
_REFUSALS = {
    "28000": ("authentication", "Check pg_hba.conf and the role in DATABASE_URL."),
    "28P01": ("authentication", "Check the role and the password in DATABASE_URL."),
    "3D000": (
        "no such database",
        "Check the name at the end of DATABASE_URL, or create the database with createdb.",
    ),
    "42501": ("authentication", "Allow the role to connect to this database: GRANT CONNECT."),
    "55000": ("not accepting", "As a superuser, run ALTER DATABASE ... ALLOW_CONNECTIONS true."),
    "53300": ("too many connections", "Stop a process of the service, or use a superuser's role."),
    "57P03": ("not ready", "The server is starting, stopping or recovering. Check its log."),
}


@dataclass(frozen=True)
class Target:
    """The hosts, database and user in a connection's URL, without the URL's secrets."""

    hosts: tuple[str, ...]
    database: str
    user: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Parse a SQLAlchemy URL, whose hosts may be folders of Unix sockets."""
        parsed = make_url(url)
        port = str(parsed.port or parsed.query.get("port") or _PORT)
        given = parsed.query.get("host") or _bracketed(parsed.host or "localhost")
        hosts = (given,) if isinstance(given, str) else given
        named = (one for host in hosts for one in host.split(","))
        return cls(
            tuple(host if _WITH_PORT.search(host) else f"{host}:{port}" for host in named),
            parsed.database or "",
            parsed.username or "",
        )

    @property
    def local(self) -> bool:
        """Return whether all hosts are this machine."""
        return all(host.startswith(("/", "localhost:", "127.", "[::1]:")) for host in self.hosts)

    def __str__(self) -> str:
        where = ", ".join(self.hosts)
        return f"{where} (database {self.database or 'default'}, user {self.user or 'default'})"


def _bracketed(host: str) -> str:
    """Put an IPv6 address in brackets, so that a port can follow it."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Answer:
    """The value that a query returned, with the query's start time and round-trip time."""

    value: Any
    asked: datetime
    seconds: float


class DiagnosticConnection:
    """A connection for diagnostic queries, which never change the database."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", target: Target, seconds: float
    ) -> None:
        self._connection = connection
        self.target = target
        # The time that connecting took, in seconds.
        self.connected_in = seconds

    async def rows(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = STATEMENT_SECONDS,
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement in a read-only transaction with short timeouts, and return its rows.

        Raises:
            NotSeenError: the query failed, for example for lack of a permission or on a timeout.
            DatabaseUnreachableError: the connection is lost.
        """
        sql, arguments = prepared(statement, parameters or {})
        limits = (
            f"SET LOCAL statement_timeout = {round(seconds * 1000)};"
            f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}"
        )
        try:
            async with self._connection.transaction(readonly=True):
                await self._connection.execute(limits)
                return [dict(row) for row in await self._connection.fetch(sql, *arguments)]
        except _LOST as error:
            raise _lost(self.target, error) from error
        except asyncpg.PostgresError as error:
            raise NotSeenError(_reason(error, seconds)) from error

    async def timed(self, statement: Executable) -> Answer:
        """Query a single value, and measure the round trip."""
        sql, _ = prepared(statement, {})
        try:
            await self._connection.fetchval(sql)
            # The first execution prepared the statement, so the second takes one round trip.
            asked, started = datetime.now(UTC), time.perf_counter()
            value = await self._connection.fetchval(sql)
        except _LOST as error:
            raise _lost(self.target, error) from error
        return Answer(value, asked, time.perf_counter() - started)


@asynccontextmanager
async def open_diagnostics(url: str, patience: float) -> AsyncIterator[DiagnosticConnection]:
    """Connect to the database at a SQLAlchemy URL, and disconnect at the end of the block.

    Raises:
        DatabaseUnreachableError: the connection failed or took longer than `patience` seconds.
    """
    target = Target.of(url)
    options = {
        **driver_arguments(url),
        "connection_class": DriverConnection,
        "timeout": patience,
        # The server's timeout is shorter. This timeout of the driver applies only if the server
        # hangs.
        "command_timeout": 3 * STATEMENT_SECONDS,
        "server_settings": {"application_name": APPLICATION},
    }
    started = time.perf_counter()
    try:
        connection = await asyncpg.connect(**options)
    except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        raise _unreachable(target, error, time.perf_counter() - started) from error
    try:
        yield DiagnosticConnection(connection, target, time.perf_counter() - started)
    finally:
        await connection.close()


def _reason(error: asyncpg.PostgresError, seconds: float) -> str:
    if isinstance(error, asyncpg.QueryCanceledError):
        return f"the query took longer than {seconds:g} s"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return f"another session held its lock for longer than {LOCK_SECONDS:g} s"
    return str(error)


def _lost(target: Target, error: BaseException) -> DatabaseUnreachableError:
    return DatabaseUnreachableError(
        f"the connection to {target} was lost: {str(error) or type(error).__name__}",
        "lost",
        "Check the server's log, then run this command again.",
    )


def _unreachable(target: Target, error: BaseException, seconds: float) -> DatabaseUnreachableError:
    kind, advice = _kind(error)
    said = str(error) or type(error).__name__
    return DatabaseUnreachableError(
        f"cannot connect to PostgreSQL at {target}: {kind} after {seconds:.2f} s: {said}. {advice}",
        kind,
        advice,
    )


def _kind(error: BaseException) -> tuple[str, str]:
    state = str(getattr(error, "sqlstate", None) or "")
    if state in _REFUSALS:
        return _REFUSALS[state]
    if isinstance(error, TimeoutError):
        return "timeout", "The machine, network or server hangs, or a firewall drops packets."
    if isinstance(error, socket.gaierror):
        return "unknown host", "Check the host in DATABASE_URL."
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "refused", "No server listens there. Start it, or check the host and the port."
    return "failed", "Check the server's log."
