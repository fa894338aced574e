"""Connections through PgBouncer in transaction mode, where a server's connection is only lent.

It is lent for one transaction, so nothing may stay on it: no prepared statement, no setting.
PgBouncer also refuses most settings at a connection's start. They are made at the beginning of each
transaction instead, in the same round trip as `BEGIN`, and end with it. A statement outside of any
transaction gets one, for the settings to hold.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from app.db.driver import DriverConnection

# PgBouncer sets these by itself, for each of its clients.
_TRACKED = {"application_name", "timezone", "datestyle"}
# What is about transactions to come, and what says the same of the one that begins.
_OF_A_TRANSACTION = {"default_transaction_read_only": "transaction_read_only"}


def transaction_pooling_args(server_settings: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of asyncpg's `connect`, for settings that hold all the same."""
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
        # Statements then have no name, and end with the next one.
        "statement_cache_size": 0,
    }


class TransactionPooledConnection(DriverConnection):
    """What every transaction begins with is `settings`, as SQL that follows `BEGIN`."""

    settings = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - the driver's
        """As the driver's, which begins transactions by it, too."""
        if query.startswith("BEGIN"):
            query = query.rstrip(";") + self.settings
        return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """As the driver's, in a transaction of its own when there is none."""
        if self.is_in_transaction():
            return await super().fetch(query, *args, **options)
        await self.execute("BEGIN")
        try:
            rows = await super().fetch(query, *args, **options)
        except asyncpg.PostgresError:
            # Anything else leaves a connection that is of no use any more, as without a pooler.
            await self.execute("ROLLBACK")
            raise
        await self.execute("COMMIT")
        return rows
