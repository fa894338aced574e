"""Reads that take one round trip each and hold a connection only for that time.

To read one deal, an `AsyncSession` uses seven times the CPU time of asyncpg's pool and keeps a
connection until the request ends. These reads need no feature of `AsyncSession` (docs/adr/0008).
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import Executable
from sqlalchemy.sql.compiler import SQLCompiler

from app.db.connection_limiter import ConnectionLimiter
from app.db.driver import CONNECTION_ERRORS, DIALECT
from app.db.errors import database_errors
from app.observability.metrics import PoolState
from app.observability.sql_statistics import statement_statistics
from app.observability.tracing import begin_statement, end_statement

# A row with access by position: an asyncpg record or a SQLAlchemy row.
AnyRow = Sequence[Any]

# Seconds that `close` waits for running reads before it closes their connections.
_CLOSE_SECONDS = 5.0


class Reader:
    """A pool for autocommit, read-only statements on the replica or, without one, the primary.

    If no connection is idle, the pool opens one as soon as the limiter allows it. The pool closes a
    connection after `idle_lifetime` idle seconds. If `idle_lifetime` is 0, connections stay open.
    """

    def __init__(
        self, limiter: ConnectionLimiter, idle_lifetime: float, connect_arguments: dict[str, Any]
    ) -> None:
        self._limiter = limiter
        self._idle_lifetime = idle_lifetime
        self._connect_arguments = connect_arguments
        self._pool: asyncpg.Pool[asyncpg.Record]

    async def open(self) -> None:
        """Create the pool in the running event loop, without opening a connection."""
        self._pool = await asyncpg.create_pool(
            min_size=0,
            max_size=self._limiter.most,
            max_inactive_connection_lifetime=self._idle_lifetime,
            reset=_keep_session,
            **self._connect_arguments,
        )

    async def close(self) -> None:
        """Close all connections, including those of reads that still run after a few seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._pool.close()

    def pool_state(self) -> PoolState:
        """Return the pool's connection and wait counts, for metrics."""
        return self._limiter.state(idle=self._pool.get_idle_size())

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """Return the rows of a statement.

        Build the statement object once and bind different values, because its compiled form is
        cached.

        Args:
            statement: a statement without "expanding" parameters. Bind an array instead.
            parameters: the values of the bound parameters, by name.

        Raises:
            ServiceUnavailableError: the database does not answer.
            KeyError: a bound parameter has no value.
        """
        sql, arguments = prepared(statement, parameters or {})
        statistics = statement_statistics.get()
        started = time.perf_counter()
        span = begin_statement(sql)
        error: BaseException | None = None
        try:
            with database_errors():
                async with self._limiter, self._pool.acquire() as connection:
                    return await _fetch(connection, sql, arguments)
        except BaseException as failure:
            error = failure
            raise
        finally:
            end_statement(span, error)
            if statistics is not None:
                statistics.statements += 1
                statistics.seconds += time.perf_counter() - started

    async def row(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> AnyRow | None:
        """Return the first row of a statement, or None if it has no rows."""
        rows = await self.rows(statement, parameters)
        return rows[0] if rows else None


async def _keep_session(_connection: object) -> None:
    """Skip asyncpg's session reset, because read-only autocommit statements leave no state."""


async def _fetch(
    connection: "PoolConnectionProxy[asyncpg.Record]", sql: str, arguments: Sequence[Any]
) -> Sequence[AnyRow]:
    try:
        return cast("Sequence[AnyRow]", await connection.fetch(sql, *arguments))
    except asyncio.CancelledError:
        # Cancel the statement on the server. The request has ended, so the cancellation delays no
        # client.
        await connection.close()
        raise
    except CONNECTION_ERRORS:
        # Do not reuse the connection, because a late result may still arrive on it. `close` would
        # wait for the server, which may hang.
        connection.terminate()
        raise


def prepared(statement: Executable, parameters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Compile a statement. Return its SQL and parameter values, in asyncpg's placeholder order."""
    found = _prepare(statement)
    return found.sql, found.arguments(parameters)


@dataclass(frozen=True)
class _Prepared:
    """The compiled form of a statement, without the values of its parameters."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    processors: Mapping[str, Callable[[Any], Any]]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the parameter values in the order of the statement's placeholders."""
        values = {**self.constants, **parameters}
        for name, process in self.processors.items():
            values[name] = process(values[name])
        return [values[name] for name in self.names]


@lru_cache(maxsize=256)
def _prepare(statement: Executable) -> _Prepared:
    compiled = cast("SQLCompiler", statement.compile(dialect=DIALECT))  # type: ignore[attr-defined]
    names = tuple(compiled.positiontup or ())
    constants = {
        name: value for name, value in compiled.params.items() if not compiled.binds[name].required
    }
    processors = {
        name: processor
        for name in names
        if (processor := compiled.binds[name].type.dialect_impl(DIALECT).bind_processor(DIALECT))
    }
    return _Prepared(compiled.string, names, constants, processors)
