"""Queries about tables and indexes. The queries read catalogs and counters, and lock no table.

Sizes date from the last vacuum or analyze. PostgreSQL's size functions would wait for locked
tables, and locked tables are a common reason to run the doctor.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from app.doctor.catalog_rows import ForeignKey, Index, Table
from app.doctor.connection import DiagnosticConnection
from app.models import Deal

# Examine at most this many tables, largest first. Smaller tables rarely slow queries down or fill a
# disk.
_MOST = 200

_TABLES = text(
    f"""
    SELECT schemaname::text AS schema, stat.relname::text AS name,
        greatest(class.reltuples::int8, n_live_tup, 0) AS rows,
        (class.relpages + coalesce(toast.relpages, 0)) * block.size AS bytes,
        indexes.pages * block.size AS index_bytes,
        coalesce(seq_scan, 0) AS seq_scan, coalesce(idx_scan, 0) AS idx_scan,
        coalesce(last_seq_scan > now() - interval '1 day', false) AS scanned_lately,
        coalesce(seq_tup_read, 0) AS seq_rows,
        n_live_tup AS live, n_dead_tup AS dead, n_mod_since_analyze AS modified,
        class.reltuples >= 0 AS analyzed,
        greatest(last_vacuum, last_autovacuum) AS last_vacuum,
        greatest(last_analyze, last_autoanalyze) AS last_analyze,
        NOT EXISTS (
            SELECT FROM pg_options_to_table(class.reloptions)
            WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean
        ) AS autovacuum
    FROM pg_stat_user_tables AS stat
    JOIN pg_class AS class ON class.oid = stat.relid
    LEFT JOIN pg_class AS toast ON toast.oid = class.reltoastrelid
    CROSS JOIN (SELECT current_setting('block_size')::int8 AS size) AS block
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(own.relpages), 0)::int8 AS pages
        FROM pg_index JOIN pg_class AS own ON own.oid = indexrelid WHERE indrelid = class.oid
    ) AS indexes
    WHERE class.relpersistence <> 't'
    ORDER BY greatest(class.relpages, n_live_tup + n_dead_tup) DESC, 1, 2 LIMIT {_MOST}
    """  # noqa: S608 - a constant
)

# Remove source positions from a stored expression, so that equal expressions become equal texts.
# PostgreSQL's functions that print an expression would need a lock on the table.
_SAME = r"regexp_replace({}::text, '\:location -?\d+', '', 'g')"

# Without permission, the progress view hides which index another role is building. In this case,
# report every index as being built.
_INDEXES = text(
    f"""
    SELECT stat.schemaname::text AS schema, stat.relname::text AS table,
        indexrelname::text AS name,
        own.relpages * current_setting('block_size')::int8 AS bytes,
        coalesce(stat.idx_scan, 0) AS scans,
        coalesce(tables.seq_scan, 0) + coalesce(tables.idx_scan, 0) AS table_scans,
        indisvalid AND indisready AND indislive AS valid,
        EXISTS (
            SELECT FROM pg_stat_progress_create_index AS progress
            WHERE progress.datname = current_database()
                AND coalesce(progress.index_relid, indexrelid) = indexrelid
        ) AS being_built,
        indisunique OR indisexclusion OR indisreplident OR EXISTS (
            SELECT FROM pg_constraint WHERE conindid = indexrelid
        ) AS constrains,
        EXISTS (
            SELECT FROM pg_constraint
            WHERE contype = 'f' AND conrelid = indrelid AND conkey[1] = indkey[0]
        ) AS behind_foreign_key,
        concat_ws(
            ' ', own.relam, indnkeyatts, indkey, indclass, indcollation, indoption,
            indnullsnotdistinct, {_SAME.format("indexprs")}, {_SAME.format("indpred")}
        ) AS shape
    FROM pg_stat_user_indexes AS stat
    JOIN pg_index USING (indexrelid)
    JOIN pg_class AS own ON own.oid = indexrelid
    JOIN pg_stat_user_tables AS tables ON tables.relid = indrelid
    WHERE own.relpersistence <> 't'
    ORDER BY own.relpages DESC, 1, 2, 3 LIMIT {5 * _MOST}
    """  # noqa: S608 - a constant
)

_FOREIGN_KEYS = text(
    """
    SELECT nspname::text AS schema, class.relname::text AS table, conname::text AS name,
        (
            SELECT string_agg(quote_ident(attname), ', ' ORDER BY place)
            FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
            JOIN pg_attribute ON attrelid = conrelid AND attnum = number
        ) AS columns,
        target.relname::text AS target, greatest(class.reltuples::int8, 0) AS rows
    FROM pg_constraint
    JOIN pg_class AS class ON class.oid = conrelid
    JOIN pg_class AS target ON target.oid = confrelid
    JOIN pg_namespace ON pg_namespace.oid = class.relnamespace
    WHERE contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index WHERE indrelid = conrelid AND indisvalid AND indpred IS NULL
            AND (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey
    )
    ORDER BY class.reltuples DESC, 1, 2, 3 LIMIT 50
    """
)


class TableDiagnostics:
    """Queries about the tables and indexes of all owners in a database."""

    def __init__(self, examination: DiagnosticConnection) -> None:
        self._examination = examination

    async def tables(self) -> list[Table]:
        """Return the largest tables, largest first."""
        return [Table(**row) for row in await self._examination.rows(_TABLES)]

    async def indexes(self) -> list[Index]:
        """Return the largest indexes, largest first."""
        return [Index(**row) for row in await self._examination.rows(_INDEXES)]

    async def foreign_keys(self) -> list[ForeignKey]:
        """Return the foreign keys without an index on their columns."""
        return [ForeignKey(**row) for row in await self._examination.rows(_FOREIGN_KEYS)]


def declared_indexes() -> Sequence[tuple[str, str, str]]:
    """Return the table, name and CREATE INDEX statement of each index that the models declare.

    The statements use CONCURRENTLY, so that they do not block writers.
    """
    return [
        (
            table.name,
            str(index.name),
            " ".join(str(CreateIndex(index).compile(dialect=_DIALECT)).split()).replace(
                "INDEX", "INDEX CONCURRENTLY", 1
            ),
        )
        for table in Deal.metadata.tables.values()
        for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
