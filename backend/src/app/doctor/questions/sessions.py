"""Queries about connections, sessions and lock waits."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ARRAY, DateTime, Float, Integer, bindparam, text

from app.doctor.catalog_rows import Connections, Prepared, Session, Waiting
from app.doctor.connection import DiagnosticConnection

# The maximum length of a reported statement, in characters.
_SHOWN = 300
# The maximum number of sessions or locks that a query returns.
_MOST = 20

# If the role may not see a session's type, count the session as a client.
_CONNECTIONS = text(
    """
    SELECT application_name AS application, state, datname = current_database() AS here,
        coalesce(usename = current_user, false) AS of_role, count(*) AS count
    FROM pg_stat_activity
    WHERE datname IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
    GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2 LIMIT 200
    """
)

_SESSION = f"""
    SELECT pid, usename::text AS user, application_name AS application,
        client_addr::text AS client, backend_type AS kind, state,
        extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_seconds,
        extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
        extract(epoch FROM clock_timestamp() - query_start)::float8 AS query_seconds,
        wait_event_type || ': ' || wait_event AS wait, left(query, {_SHOWN}) AS query,
        backend_start AS started, datname::text AS database,
        coalesce(datname = current_database(), false) AS here, pid = pg_backend_pid() AS own
    FROM pg_stat_activity
"""  # noqa: S608 - a constant

_HERE = "datname = current_database() AND pid <> pg_backend_pid()"

_IDLE = text(
    f"""
    {_SESSION} WHERE {_HERE} AND state LIKE 'idle in transaction%'
        AND state_change < clock_timestamp() - make_interval(secs => :seconds)
    ORDER BY xact_start LIMIT {_MOST}
    """
).bindparams(bindparam("seconds", type_=Float))

_RUNNING = text(
    f"""
    {_SESSION} WHERE {_HERE} AND state = 'active' AND backend_type = 'client backend'
    ORDER BY query_start LIMIT {_MOST}
    """
)

_THESE = text(f"{_SESSION} WHERE pid = ANY(:pids)").bindparams(
    bindparam("pids", type_=ARRAY(Integer))
)

# This query needs no permissions. It calls pg_blocking_pids() for waiting sessions only, because
# each call stops PostgreSQL's lock manager for a moment.
_WAITING = text(
    f"""
    SELECT pid, locktype AS lock, mode, class.relname::text AS relation,
        coalesce(extract(epoch FROM clock_timestamp() - waitstart), 0)::float8 AS seconds,
        pg_blocking_pids(pid) AS blockers
    FROM (
        SELECT lock.* FROM pg_locks AS lock JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND datname = current_database() ORDER BY waitstart LIMIT {5 * _MOST}
    ) AS lock
    LEFT JOIN pg_class AS class ON class.oid = lock.relation
    """  # noqa: S608 - a constant
)

_PREPARED = text(
    f"""
    SELECT gid, owner::text AS owner,
        extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
    FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT {_MOST}
    """  # noqa: S608 - a constant
)

# Compare the session's start time, because a newer session may have the same process id.
_TERMINATE = text(
    """
    SELECT pg_terminate_backend(pid, :patience) AS ended FROM pg_stat_activity
    WHERE pid = :pid AND datname = current_database() AND pid <> pg_backend_pid()
        AND backend_start IS NOT DISTINCT FROM :started
    """
).bindparams(
    bindparam("pid", type_=Integer),
    bindparam("started", type_=DateTime(timezone=True)),
)

# The seconds to wait for a session to end.
_PATIENCE = 5


class SessionDiagnostics:
    """Queries about the server's connections and the database's sessions."""

    def __init__(self, examination: DiagnosticConnection) -> None:
        self._examination = examination

    async def connections(self) -> list[Connections]:
        """Count the server's connections by application, state, database and role."""
        return [Connections(**row) for row in await self._examination.rows(_CONNECTIONS)]

    async def idle_in_transaction(self, seconds: float) -> list[Session]:
        """Return sessions idle in a transaction for `seconds` or more, oldest transaction first."""
        rows = await self._examination.rows(_IDLE, {"seconds": seconds})
        return [Session(**row) for row in rows]

    async def running(self) -> list[Session]:
        """Return sessions that are running a statement, longest-running first."""
        return [Session(**row) for row in await self._examination.rows(_RUNNING)]

    async def waiting(self) -> list[Waiting]:
        """Return sessions that wait for a lock, with the sessions that block them."""
        return [Waiting(**row) for row in await self._examination.rows(_WAITING)]

    async def prepared(self) -> list[Prepared]:
        """Return the database's prepared transactions, oldest first."""
        return [Prepared(**row) for row in await self._examination.rows(_PREPARED)]

    async def these(self, pids: Collection[int]) -> list[Session]:
        """Return the sessions with the process ids `pids`, in any database."""
        rows = await self._examination.rows(_THESE, {"pids": list(pids)})
        return [Session(**row) for row in rows]

    async def terminate(self, pid: int, started: datetime | None) -> bool | None:
        """End a session of this database.

        Returns:
            True if the session ended within five seconds, False if not, None if no session matches.

        Raises:
            NotSeenError: the role may not end the session.
        """
        rows = await self._examination.rows(
            _TERMINATE,
            {"pid": pid, "started": started, "patience": _PATIENCE * 1000},
            seconds=_PATIENCE + 1,
        )
        return bool(rows[0]["ended"]) if rows else None
