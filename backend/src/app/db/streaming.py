"""Streamed reads: COPY in one snapshot, on a dedicated connection.

PostgreSQL writes the text of each row, so the process only forwards bytes. The driver reads no more
from the socket until it has passed on its data (backpressure).
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

# Consumes the next bytes, and returns when it is ready for more.
Write = Callable[[bytes], Coroutine[Any, Any, None]]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True)
class Lines:
    """The options of COPY's CSV format: `DELIMITER`, `QUOTE` and `HEADER`."""

    delimiter: str = ","
    quote: str = '"'
    header: bool = False


class Snapshot:
    """A consistent view of the database, which concurrent writes do not change."""

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
            statement: a statement as for `Reader.rows`. The server quotes and inserts the values.
            parameters: values by the names of the statement's bound parameters.
            lines: the output format.
            write: the consumer. A slow consumer slows PostgreSQL down.
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
    """A limited number of concurrent snapshots, each on a connection outside the pools."""

    def __init__(self, limit: int, connect_arguments: Mapping[str, Any]) -> None:
        self._connect_arguments = connect_arguments
        self._limit = limit
        self._open = 0

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Yield a snapshot, valid inside the block.

        Raises:
            TooManyExportsError: the limit is reached. Exports are long, so callers do not wait.
            ServiceUnavailableError: the database does not answer, at the start or later.
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
                    # Cancels a COPY on the server if its client has disconnected.
                    await connection.close()
        finally:
            self._open -= 1


def _count_statement() -> Callable[[], None]:
    """Count a statement of the request, and return a callback that records its duration.

    The first call of the callback stops the clock. The time of later rows depends on the client's
    pace and is not counted.
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
