"""Looking at a server that may be ill: one connection, short read-only transactions.

The service's own connections set what the server is to be like (jit, timeouts); this one leaves the
server's settings as every other client finds them.
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

# Nothing here is worth more of a busy server's time, or of others' waiting behind us for a lock.
STATEMENT_SECONDS = 3.0
LOCK_SECONDS = 0.3

_PORT = 5432
_WITH_PORT = re.compile(r":\d+$")

# What the end of a connection looks like: of classes 08 and 57P, or to the driver.
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    *CONNECTION_ERRORS,
)

# By the SQLSTATE of a refusal: its kind, and what to look at.
_REFUSALS = {
    "28000": ("authentication", "look at pg_hba.conf, and at the role in DATABASE_URL"),
    "28P01": ("authentication", "look at the role and the password in DATABASE_URL"),
    "3D000": ("no such database", "look at the end of DATABASE_URL, or make it: createdb"),
    "42501": ("authentication", "the role may not connect to this database: GRANT CONNECT"),
    "55000": ("not accepting", "ALTER DATABASE ... ALLOW_CONNECTIONS true, as superuser"),
    "53300": ("too many connections", "stop a process of the service, or connect as superuser"),
    "57P03": ("not ready", "it is starting, stopping or recovering: look at the server's log"),
}


@dataclass(frozen=True)
class Target:
    """Where a connection goes; of what a URL says the part that may be shown."""

    hosts: tuple[str, ...]
    database: str
    user: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Of a SQLAlchemy URL; a folder among the hosts is one of sockets."""
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
        """Whether the server is on this machine, as far as its address tells."""
        return all(host.startswith(("/", "localhost:", "127.", "[::1]:")) for host in self.hosts)

    def __str__(self) -> str:
        where = ", ".join(self.hosts)
        return f"{where} (database {self.database or 'default'}, user {self.user or 'default'})"


def _bracketed(host: str) -> str:
    """An IPv6 address as it can be followed by a port."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Answer:
    """A value, and between which moments of this machine's clock it was found."""

    value: Any
    asked: datetime
    seconds: float


class DiagnosticConnection:
    """A connection whose every statement is a read-only transaction with short timeouts."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", target: Target, seconds: float
    ) -> None:
        self._connection = connection
        self.target = target
        # How long it took to connect.
        self.connected_in = seconds

    async def rows(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = STATEMENT_SECONDS,
    ) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement, by name.

        Raises:
            NotSeenError: not with this role's rights, not in that time, not at this moment.
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
        """The value of a statement that needs neither rights nor time, and when it was asked."""
        sql, _ = prepared(statement, {})
        try:
            await self._connection.fetchval(sql)
            # From here on it is one round trip.
            asked, started = datetime.now(UTC), time.perf_counter()
            value = await self._connection.fetchval(sql)
        except _LOST as error:
            raise _lost(self.target, error) from error
        return Answer(value, asked, time.perf_counter() - started)


@asynccontextmanager
async def open_diagnostics(url: str, patience: float) -> AsyncIterator[DiagnosticConnection]:
    """Connect to the database at a SQLAlchemy URL, for the length of the block.

    Raises:
        DatabaseUnreachableError: there is no connection within `patience` seconds.
    """
    target = Target.of(url)
    options = {
        **driver_arguments(url),
        "connection_class": DriverConnection,
        "timeout": patience,
        # The server's own timeout answers first; this one is for a server that hangs.
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
        return f"it takes longer than {seconds:g} s"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return f"somebody has locked it for longer than {LOCK_SECONDS:g} s"
    return str(error)


def _lost(target: Target, error: BaseException) -> DatabaseUnreachableError:
    return DatabaseUnreachableError(
        f"the connection to {target} was lost: {str(error) or type(error).__name__}",
        "lost",
        "look at the server's log, and run this again",
    )


def _unreachable(target: Target, error: BaseException, seconds: float) -> DatabaseUnreachableError:
    kind, advice = _kind(error)
    said = str(error) or type(error).__name__
    return DatabaseUnreachableError(
        f"cannot connect to PostgreSQL at {target}: {kind} after {seconds:.2f} s: {said}; {advice}",
        kind,
        advice,
    )


def _kind(error: BaseException) -> tuple[str, str]:
    state = str(getattr(error, "sqlstate", None) or "")
    if state in _REFUSALS:
        return _REFUSALS[state]
    if isinstance(error, TimeoutError):
        return "timeout", "the machine, the network or the server hangs, or a firewall is between"
    if isinstance(error, socket.gaierror):
        return "unknown host", "look at the host in DATABASE_URL"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "refused", "nothing listens there: start the server, or look at host and port"
    return "failed", "look at the server's log"
