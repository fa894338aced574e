"""Connections through PgBouncer in transaction mode.

PgBouncer assigns a server connection to a client for one transaction only, so the client must leave
neither prepared statements nor session settings on it. PgBouncer also rejects most settings when a
client connects. Each transaction therefore applies the settings with `SET LOCAL`, in the same round
trip as `BEGIN`. A statement outside a transaction runs in its own, so that the settings apply.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from app.db.driver import DriverConnection

# PgBouncer tracks these settings for each client, so clients may set them when they connect.
_TRACKED = {"application_name", "timezone", "datestyle"}
# `SET LOCAL default_transaction_*` has no effect, because these defaults apply only to later
# transactions. Replace each default by the setting that applies to the current transaction.
_OF_A_TRANSACTION = {"default_transaction_read_only": "transaction_read_only"}


def transaction_pooling_args(server_settings: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of asyncpg's `connect` that apply `server_settings` through PgBouncer."""
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
        # Without a cache, asyncpg uses unnamed prepared statements. A new one replaces the last, so
        # they do not accumulate on the server connection.
        "statement_cache_size": 0,
    }


class TransactionPooledConnection(DriverConnection):
    """A connection that sends the SQL in `settings` with each `BEGIN`."""

    settings = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's signature
        """Execute a query, and append `settings` to a `BEGIN`."""
        if query.startswith("BEGIN"):
            query = query.rstrip(";") + self.settings
        return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Fetch rows in the open transaction. If no transaction is open, run one for this query."""
        if self.is_in_transaction():
            return await super().fetch(query, *args, **options)
        await self.execute("BEGIN")
        try:
            rows = await super().fetch(query, *args, **options)
        except asyncpg.PostgresError:
            # Roll back only after server errors. After other errors the connection is unusable.
            await self.execute("ROLLBACK")
            raise
        await self.execute("COMMIT")
        return rows
