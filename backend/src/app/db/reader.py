"""Statements that read: one round trip each, on a connection taken for that long.

An `AsyncSession` costs 0.28 ms of CPU for a statement that asyncpg runs in 0.05 ms, and it keeps
its connection until the request is over. Reads need none of what it does (docs/adr/0008).
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import asyncpg
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import await_only, greenlet_spawn

from app.db.errors import database_errors
from app.db.pool import end
from app.observability.sql_statistics import statement_statistics
from app.observability.tracing import begin_statement, end_statement

# A row by position, its values as asyncpg decodes them; SQLAlchemy's rows are one, too.
AnyRow = Sequence[Any]

_DIALECT = dialect()  # type: ignore[no-untyped-call]


class Reader:
    """Reads, autocommit and read-only at the server; may be answered by a replica."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.sync_engine

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """The rows of a statement.

        The statement is compiled when it first comes, so build it once and bind what changes.

        Args:
            statement: without "expanding" parameters; an array does what they do.
            parameters: by the names of the statement's bound parameters.

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
                return await greenlet_spawn(self._fetch, sql, arguments)
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
        """The only row of a statement, or None when there is none."""
        rows = await self.rows(statement, parameters)
        return rows[0] if rows else None

    def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[AnyRow]:
        """Runs inside SQLAlchemy's greenlet: its pool may have to wait, connect or close."""
        connection = self._engine.raw_connection()
        driver = cast("asyncpg.Connection[asyncpg.Record]", connection.driver_connection)
        try:
            return cast("Sequence[AnyRow]", await_only(driver.fetch(sql, *arguments)))
        except asyncpg.PostgresError:
            # The server's own answer; should it have closed the connection, checkout notices.
            raise
        except asyncio.CancelledError:
            # Nobody waits for the answer: there is time to have the server end the statement.
            end(connection)
            raise
        except BaseException:
            # Timed out or cut: the answer may still be on its way. Not with a goodbye, which a
            # server that hangs would be waited for to hear.
            driver.terminate()
            connection.invalidate()
            raise
        finally:
            connection.close()


def prepared(statement: Executable, parameters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """A statement as asyncpg takes it: its SQL, and its parameters by position."""
    found = _prepare(statement)
    return found.sql, found.arguments(parameters)


@dataclass(frozen=True)
class _Prepared:
    """What of a statement does not change from one time to the next."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    processors: Mapping[str, Callable[[Any], Any]]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Values in the order of the statement's placeholders."""
        values = {**self.constants, **parameters}
        for name, process in self.processors.items():
            values[name] = process(values[name])
        return [values[name] for name in self.names]


@lru_cache(maxsize=256)
def _prepare(statement: Executable) -> _Prepared:
    compiled = cast("SQLCompiler", statement.compile(dialect=_DIALECT))  # type: ignore[attr-defined]
    names = tuple(compiled.positiontup or ())
    constants = {
        name: value for name, value in compiled.params.items() if not compiled.binds[name].required
    }
    processors = {
        name: processor
        for name in names
        if (processor := compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
    }
    return _Prepared(compiled.string, names, constants, processors)
