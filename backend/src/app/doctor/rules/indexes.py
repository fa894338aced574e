"""Indexes that are missing, of no use, there twice or broken."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from app.doctor.catalog_rows import Activity, ForeignKey, Index, Table, identifier
from app.doctor.findings import Facts, Finding, bounded, findings_or_ok, size

# Smaller tables are read whole as fast as by an index.
LARGE_TABLE_ROWS = 10_000
# Fewer scans of a whole table are somebody's who looks around, a check or an export.
SCANS = 100
# Of all scans of a table, those that read the whole of it.
SCANS_WARNING, SCANS_PROBLEM = 0.10, 0.50
# A report is made once a week; what nothing has used for that long is for nothing.
UNUSED_DAYS = 7.0
# How often its table must have been asked by then for that to mean something.
UNUSED_TABLE_SCANS = 1000
UNUSED_BYTES = 1024**2

# Tables, indexes and schema of these belong to the queue's library.
_LIBRARY = "procrastinate"

Declared = Sequence[tuple[str, str, str]]


def invalid(indexes: Sequence[Index]) -> list[Finding]:
    """What CREATE INDEX CONCURRENTLY leaves when it fails: it costs writes and serves nobody."""
    findings = []
    for index in indexes:
        if index.valid or index.being_built:
            continue
        # A rebuild that failed: the index itself is still there.
        leftover = index.name.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        verb = "DROP INDEX CONCURRENTLY" if leftover else "REINDEX INDEX CONCURRENTLY"
        findings.append(
            Finding(
                "indexes",
                "problem",
                f"index {index.name} of {index.table} is invalid: no query uses it",
                _evidence(index),
                "building it has failed; every write maintains it all the same; should that fail, "
                f"DROP INDEX CONCURRENTLY {index.identifier};",
                f"{verb} {index.identifier};",
            )
        )
    return bounded(findings)


def duplicates(indexes: Sequence[Index]) -> list[Finding]:
    """Indexes that do what another one does; the one behind a constraint stays."""
    twins: dict[tuple[str, str, str], list[Index]] = defaultdict(list)
    for index in indexes:
        if index.valid:
            twins[index.schema, index.table, index.shape].append(index)
    findings = []
    for group in twins.values():
        kept, *others = sorted(group, key=lambda index: (not index.constrains, index.name))
        findings += [
            Finding(
                "indexes",
                "warning",
                f"index {index.name} of {index.table} does what {kept.name} does",
                {**_evidence(index), "same_as": kept.name},
                "every write maintains both",
                f"DROP INDEX CONCURRENTLY {index.identifier};",
            )
            for index in others
            if not index.constrains
        ]
    return bounded(findings)


def unused(indexes: Sequence[Index], activity: Activity, declared: Declared) -> list[Finding]:
    """Indexes that no query has used although their tables were asked.

    Not those that uphold a constraint or serve the deletes of what they refer to.
    """
    found = [
        index
        for index in indexes
        if index.valid
        and not index.scans
        and not index.constrains
        and not index.behind_foreign_key
        and not index.name.startswith((_LIBRARY, f"idx_{_LIBRARY}"))
        and index.bytes >= UNUSED_BYTES
        and index.table_scans >= UNUSED_TABLE_SCANS
    ]
    since = f"{activity.since:%Y-%m-%d %H:%M} UTC"
    if found and activity.days < UNUSED_DAYS:
        names = ", ".join(index.name for index in found)
        title = f"{len(found)} indexes were not used since {since}, which is too early to tell"
        facts: Facts = {"indexes": names, "bytes": sum(index.bytes for index in found)}
        return [Finding("indexes", "fine", title, {**facts, "days": round(activity.days, 2)})]
    ours = {name for _, name, _ in declared}
    return bounded([_unused(index, since, ours=index.name in ours) for index in found])


def _unused(index: Index, since: str, *, ours: bool) -> Finding:
    advice = "a replica counts for itself: look there first (deals doctor --replica)"
    if ours:
        advice += "; the models have it: drop it there, and in a revision"
    title = f"index {index.name} of {index.table} ({size(index.bytes)}) was not used since {since}"
    evidence: Facts = {**_evidence(index), "since": since}
    remedy = f"DROP INDEX CONCURRENTLY {index.identifier};"
    return Finding("indexes", "warning", title, evidence, advice, remedy)


def undone(indexes: Sequence[Index], tables: Sequence[Table], declared: Declared) -> list[Finding]:
    """Indexes that the models have and the database has not."""
    rows = {table.name: table.rows for table in tables}
    present = {index.name for index in indexes}
    return bounded(
        [
            Finding(
                "indexes",
                "problem" if rows[table] >= LARGE_TABLE_ROWS else "warning",
                f"index {name} of {table} is missing: the schema has it",
                {"index": name, "table": table, "rows": rows[table]},
                "somebody has dropped it",
                f"{statement};",
            )
            for table, name, statement in declared
            if table in rows and name not in present
        ]
    )


def scans(tables: Sequence[Table], activity: Activity) -> list[Finding]:
    """Large tables that are read as a whole, again and again, and still today."""
    findings = []
    for table in tables:
        total = table.seq_scan + table.idx_scan
        share = table.seq_scan / total if total else 0.0
        few = table.seq_scan < SCANS or share < SCANS_WARNING
        if table.rows < LARGE_TABLE_ROWS or few or not table.scanned_lately:
            continue
        evidence: Facts = {
            "table": table.name,
            "rows": table.rows,
            "seq_scan": table.seq_scan,
            "idx_scan": table.idx_scan,
            "seq_scan_ratio": round(share, 3),
            "rows_a_scan": table.seq_rows // table.seq_scan,
            "since": activity.since,
        }
        findings.append(
            Finding(
                "indexes",
                "problem" if share >= SCANS_PROBLEM else "warning",
                f"{share:.0%} of the scans of {table.name} ({table.rows:,} rows) read it whole",
                evidence,
                "find the statement: the slow route is in the access log (sql_ms); or have the "
                "server log what takes longer than 200 ms, and EXPLAIN that; mended, count anew "
                f"(SELECT pg_stat_reset_single_table_counters('{table.identifier}'::regclass))",
                "ALTER SYSTEM SET log_min_duration_statement = '200ms'; SELECT pg_reload_conf();",
            )
        )
    return bounded(findings)


def foreign_keys(found: Sequence[ForeignKey]) -> list[Finding]:
    """References whose targets cannot be deleted without reading the whole table."""
    return bounded(
        [
            Finding(
                "indexes",
                "warning",
                f"{key.table} ({key.columns}) refers to {key.target} without an index",
                {"table": key.table, "constraint": key.name, "rows": key.rows},
                f"each delete in {key.target} reads all of {key.table}",
                f"CREATE INDEX CONCURRENTLY ON {identifier(key.schema, key.table)} "
                f"({key.columns});",
            )
            for key in found
            if key.rows >= LARGE_TABLE_ROWS and not key.table.startswith(_LIBRARY)
        ]
    )


def together(kinds: Sequence[Sequence[Finding]], count: int) -> list[Finding]:
    """Every kind's findings, or that there is none."""
    findings = list(chain.from_iterable(kinds))
    return findings or findings_or_ok(
        "indexes", [], f"{count} indexes: none missing, broken or twice"
    )


def _evidence(index: Index) -> Facts:
    return {
        "index": index.name,
        "table": index.table,
        "bytes": index.bytes,
        "scans": index.scans,
        "table_scans": index.table_scans,
    }
