"""Connections through PgBouncer in transaction mode.

PgBouncer lends a server connection for one transaction, so a client must leave no state on it: no
prepared statement and no session setting. PgBouncer also rejects most settings when a client
connects. Instead, each transaction begins with `SET LOCAL`, in the same round trip as `BEGIN`. A
statement outside a transaction gets a transaction of its own, so that the settings apply.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from app.db.driver import DriverConnection

# Settings that PgBouncer itself tracks for each client.
_TRACKED = {"application_name", "timezone", "datestyle"}
# Maps a setting for future transactions to the equivalent setting for the current one.
_OF_A_TRANSACTION = {"default_transaction_read_only": "transaction_read_only"}


def transaction_pooling_args(server_settings: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of asyncpg's `connect` that apply the settings through PgBouncer."""
    local = {name: value for name, value in server_settings.items() if name not in _TRACKED}
    statements = "".join(
        f"; SET LOCAL {_OF_A_TRANSACTION.get(name, name)} = '{value}'"
        for name, value in local.items()
    )
    return {
        "server_settings": {k: v for k, v in server_settings.items() if k in _TRACKED},
        "connection_class": type(
            "TransactionPooledConnection", (TransactionPooledConnection,), {"settings": statements}
        ),
        # Without a cache, asyncpg uses unnamed prepared statements, which the next one replaces.
        "statement_cache_size": 0,
    }


class TransactionPooledConnection(DriverConnection):
    """A connection whose transactions begin with the SQL in `settings`, sent with `BEGIN`."""

    settings = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - the driver's
        """Execute a query, and append `settings` to the `BEGIN` that asyncpg sends here."""
        if query.startswith("BEGIN"):
            query = query.rstrip(";") + self.settings
        return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Fetch rows, in a new transaction if none is open."""
        if self.is_in_transaction():
            return await super().fetch(query, *args, **options)
        await self.execute("BEGIN")
        try:
            rows = await super().fetch(query, *args, **options)
        except asyncpg.PostgresError:
            # After any other error the connection is unusable, with and without PgBouncer.
            await self.execute("ROLLBACK")
            raise
        await self.execute("COMMIT")
        return rows
