"""Streamed reads with COPY, from one snapshot on a dedicated connection.

PostgreSQL formats the rows, so this process only forwards bytes. The driver reads from the socket
only after the consumer has taken the data that was read before (backpressure).
"""

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import Executable

from app.core.errors import TooManyExportsError
from app.db.errors import database_errors
from app.db.reader import prepared
from app.observability.sql_statistics import StatementStatistics, statement_statistics

# An asynchronous function that consumes bytes, and returns when it can consume more.
Write = Callable[[bytes], Coroutine[Any, Any, None]]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True)
class Lines:
    """The options of COPY's CSV format: `DELIMITER`, `QUOTE` and `HEADER`."""

    delimiter: str = ","
    quote: str = '"'
    header: bool = False


class Snapshot:
    """A consistent view of the database that concurrent writes do not change."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def value(self, statement: Executable) -> Any:
        """Return the first column of the only row of a statement without parameters."""
        answered = _count_statement()
        found = await self._connection.fetchval(prepared(statement, {})[0])
        answered()
        return found

    async def copy(
        self, statement: Executable, parameters: Mapping[str, Any], lines: Lines, write: Write
    ) -> None:
        """Pass the rows of a statement to `write`, some kilobytes at a time.

        If this call is cancelled or `write` raises, the server cancels the statement.

        Args:
            statement: a statement without "expanding" parameters, as in `Reader.rows`.
            parameters: the values of the bound parameters, by name. The server quotes them.
            lines: the options of the CSV format.
            write: the consumer. A slow consumer slows PostgreSQL down (backpressure).
        """
        sql, arguments = prepared(statement, parameters)
        answered = _count_statement()

        async def pass_on(content: bytes) -> None:
            answered()
            await write(content)

        await self._connection.copy_from_query(
            sql,
            *arguments,
            output=pass_on,
            format="csv",
            delimiter=lines.delimiter,
            quote=lines.quote,
            header=lines.header,
        )


class SnapshotConnections:
    """A limiter of concurrent snapshots. Each snapshot has a connection outside the pools."""

    def __init__(self, limit: int, connect_arguments: Mapping[str, Any]) -> None:
        self._connect_arguments = connect_arguments
        self._limit = limit
        self._open = 0

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Yield a snapshot that is valid until the block ends.

        Raises:
            TooManyExportsError: the limit is reached. Waiting for a long export would not help.
            ServiceUnavailableError: the connection cannot be opened or is lost.
        """
        if self._open >= self._limit:
            raise TooManyExportsError
        self._open += 1
        try:
            with database_errors():
                connection = await asyncpg.connect(**self._connect_arguments)
                try:
                    await connection.execute(_BEGIN)
                    yield Snapshot(connection)
                    await connection.execute("COMMIT")
                finally:
                    # If the client has disconnected, `close` cancels the COPY on the server.
                    await connection.close()
        finally:
            self._open -= 1


def _count_statement() -> Callable[[], None]:
    """Count a statement of the request, and return a callback that records the duration.

    Only the first call of the callback, for the first rows, has an effect. The time for later rows
    depends on the client's speed.
    """
    statistics = statement_statistics.get() or StatementStatistics()
    statistics.statements += 1
    started: float | None = time.perf_counter()

    def answered() -> None:
        nonlocal started
        if started is not None:
            statistics.seconds += time.perf_counter() - started
            started = None

    return answered
