"""Queries about the server and the whole database."""

from collections.abc import Sequence

from sqlalchemy import ARRAY, Text, bindparam, text

from app.doctor.catalog_rows import Activity, Age, Server, Setting, Slot
from app.doctor.connection import Answer, DiagnosticConnection

_SERVER = text(
    """
    SELECT current_setting('server_version') AS version,
        current_setting('server_version_num')::int AS version_number,
        current_user::text AS role,
        current_database()::text AS database,
        pg_is_in_recovery() AS standby,
        pg_postmaster_start_time() AS started,
        pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
        CASE WHEN pg_is_in_recovery()
            AND pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
            AND pg_last_wal_receive_lsn() IS NOT NULL
        THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
        END AS replay_seconds,
        (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
        (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
            AS database_limit
    """
)

_CLOCK = text("SELECT clock_timestamp()")

# Select the values that new connections get: `setting` would show the doctor's own timeouts.
_SETTINGS = text(
    """
    SELECT name, reset_val AS value, unit, pending_restart FROM pg_settings
    WHERE name = ANY(:names) OR pending_restart ORDER BY name LIMIT 100
    """
).bindparams(bindparam("names", type_=ARRAY(Text)))

# A crash resets the database's counters but not their `stats_reset`. The crash does update the
# background writer's `stats_reset`, so `since` is the later of the two times.
_ACTIVITY = text(
    """
    SELECT blks_hit AS blocks_hit, blks_read AS blocks_read, temp_files, temp_bytes, deadlocks,
        since, (extract(epoch FROM clock_timestamp() - since) / 86400)::float8 AS days
    FROM pg_stat_database AS own CROSS JOIN pg_stat_bgwriter AS all_of_it
    CROSS JOIN LATERAL (
        SELECT greatest(own.stats_reset, all_of_it.stats_reset) AS since
    ) AS beginning
    WHERE own.datname = current_database()
    """
)

_SIZE = text("SELECT pg_database_size(current_database()) AS bytes")

_AGES = text(
    """
    SELECT datname::text AS database, age(datfrozenxid) AS transactions,
        mxid_age(datminmxid) AS multixacts
    FROM pg_database ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC LIMIT 5
    """
)

_SLOTS = text(
    """
    SELECT slot_name::text AS name, active, wal_status FROM pg_replication_slots
    ORDER BY slot_name LIMIT 20
    """
)

_HAS_SCHEMA = text("SELECT to_regclass('alembic_version') IS NOT NULL AS found")
_REVISIONS = text("SELECT version_num FROM alembic_version ORDER BY version_num LIMIT 5")


class ServerDiagnostics:
    """Queries that work on any server, even without the service's schema."""

    def __init__(self, examination: DiagnosticConnection) -> None:
        self._examination = examination

    async def server(self) -> Server:
        """Return facts about the server, the database and the doctor's role."""
        (row,) = await self._examination.rows(_SERVER)
        return Server(**row)

    async def clock(self) -> Answer:
        """Return the server's time, with the round-trip time of the query."""
        return await self._examination.timed(_CLOCK)

    async def settings(self, names: Sequence[str]) -> dict[str, Setting]:
        """Return the settings in `names`, and all that need a restart to take effect, by name."""
        rows = await self._examination.rows(_SETTINGS, {"names": list(names)})
        return {row["name"]: Setting(**row) for row in rows}

    async def activity(self) -> Activity:
        """Return the database's activity counters."""
        (row,) = await self._examination.rows(_ACTIVITY)
        return Activity(**row)

    async def size(self) -> int:
        """Return the size of the database's files in bytes. The query needs no lock."""
        (row,) = await self._examination.rows(_SIZE)
        return int(row["bytes"])

    async def ages(self) -> list[Age]:
        """Return the ages of the five databases with the oldest unfrozen ids, oldest first."""
        return [Age(**row) for row in await self._examination.rows(_AGES)]

    async def slots(self) -> list[Slot]:
        """Return up to 20 replication slots, sorted by name."""
        return [Slot(**row) for row in await self._examination.rows(_SLOTS)]

    async def revisions(self) -> list[str] | None:
        """Return the schema's revision ids, or None if the table `alembic_version` is missing."""
        (found,) = await self._examination.rows(_HAS_SCHEMA)
        if not found["found"]:
            return None
        return [row["version_num"] for row in await self._examination.rows(_REVISIONS)]
