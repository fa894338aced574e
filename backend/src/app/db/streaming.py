"""Reads whose result is too large to hold: COPY, in one snapshot, on a connection of its own.

COPY has PostgreSQL write the text: a row costs the process nothing but passing it on, and the
driver takes no more from the socket until what it has was passed on.
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

# Takes the next bytes; returns when more may come.
Write = Callable[[bytes], Coroutine[Any, Any, None]]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True)
class Lines:
    """How COPY's CSV format separates and quotes; PostgreSQL's `DELIMITER`, `QUOTE`, `HEADER`."""

    delimiter: str = ","
    quote: str = '"'
    header: bool = False


class Snapshot:
    """One moment of the database, however long reading it takes and whoever writes meanwhile."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def value(self, statement: Executable) -> Any:
        """The first column of the only row of a statement without parameters."""
        answered = _count_statement()
        found = await self._connection.fetchval(prepared(statement, {})[0])
        answered()
        return found

    async def copy(
        self, statement: Executable, parameters: Mapping[str, Any], lines: Lines, write: Write
    ) -> None:
        """Pass the rows of a statement to `write`, some kilobytes at a time.

        Cancelled, or when `write` raises, the statement is cancelled at the server.

        Args:
            statement: as for `Reader.rows`; the server quotes the values and puts them in.
            parameters: by the names of the statement's bound parameters.
            lines: how the rows are written.
            write: slows PostgreSQL down when it is slow.
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
    """Snapshots, so many at a time, each on a connection that nobody has to wait for."""

    def __init__(self, limit: int, connect_arguments: Mapping[str, Any]) -> None:
        self._connect_arguments = connect_arguments
        self._limit = limit
        self._open = 0

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """A snapshot for the length of the block.

        Raises:
            TooManyExportsError: the limit is reached; at once, because they take long.
            ServiceUnavailableError: the database does not answer, now or later on.
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
                    # Has the server end a COPY whose client has gone.
                    await connection.close()
        finally:
            self._open -= 1


def _count_statement() -> Callable[[], None]:
    """Count one for the request; what is returned notes the time until it is first called.

    Not until the last row: the pace of those is the client's.
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
