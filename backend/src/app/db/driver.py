"""asyncpg connections without SQLAlchemy."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
from anyio import CancelScope
from sqlalchemy import Dialect, make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

DIALECT: Dialect = dialect()  # type: ignore[no-untyped-call]

# Errors of a connection that is closed, hangs, or was closed by the server during an operation of
# the driver.
CONNECTION_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_CLOSE_SECONDS = 2.0


class DriverConnection(_Connection):
    """A connection that closes within a time limit and without an error."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's signature
        """Cancel the running statement on the server and close the connection.

        asyncpg's own `close` waits forever if the server hangs, and raises if the server is gone.
        Closing is shielded from cancellation, because an anyio cancel scope, such as the one around
        an event stream, cancels the task repeatedly.
        """
        with CancelScope(shield=True), suppress(asyncpg.PostgresError, *CONNECTION_ERRORS):
            await super().close(timeout=_CLOSE_SECONDS if timeout is None else timeout)


def driver_arguments(url: str) -> dict[str, Any]:
    """Convert a SQLAlchemy URL to arguments of asyncpg's `connect`."""
    _, given = DIALECT.create_connect_args(make_url(url))
    arguments = dict(given)
    # Only SQLAlchemy accepts this URL parameter. asyncpg would reject it.
    arguments.pop("prepared_statement_cache_size", None)
    return arguments
