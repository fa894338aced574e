"""Connections of asyncpg without SQLAlchemy around them."""

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

# What the driver says of a connection that is closed, that hangs, or that a server broke off
# between two steps of the protocol: then the driver finds itself in the middle of an operation.
CONNECTION_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_CLOSE_SECONDS = 2.0


class DriverConnection(_Connection):
    """A connection whose end is bounded in time, and is no error."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        """Cancel the statement that runs, at the server, and close the connection.

        The driver's own waits without end for a server that hangs, and fails when the server has
        gone. An anyio scope, such as the one around a stream of events, cancels again and again, so
        that closing is shielded from it.
        """
        with CancelScope(shield=True), suppress(asyncpg.PostgresError, *CONNECTION_ERRORS):
            await super().close(timeout=_CLOSE_SECONDS if timeout is None else timeout)


def driver_arguments(url: str) -> dict[str, Any]:
    """Return a SQLAlchemy URL as arguments of asyncpg's `connect`."""
    _, given = DIALECT.create_connect_args(make_url(url))
    arguments = dict(given)
    # The only one that a URL may have for SQLAlchemy alone.
    arguments.pop("prepared_statement_cache_size", None)
    return arguments
