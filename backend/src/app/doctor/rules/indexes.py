"""Rules for indexes: missing, unused, duplicate and invalid ones."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from app.doctor.catalog_rows import Activity, ForeignKey, Index, Table, identifier
from app.doctor.findings import Facts, Finding, bounded, findings_or_ok, size

# In tables with fewer rows, a sequential scan is as fast as an index scan.
LARGE_TABLE_ROWS = 10_000
# Ignore tables with fewer sequential scans. Manual queries, checks or exports cause a few.
SCANS = 100
# Sequential scans as a share of all scans of a table.
SCANS_WARNING, SCANS_PROBLEM = 0.10, 0.50
# Count scans for a week before calling an index unused, because some queries run weekly.
UNUSED_DAYS = 7.0
# Ignore an unused index if its table had fewer scans, or if the index has fewer bytes.
UNUSED_TABLE_SCANS = 1000
UNUSED_BYTES = 1024**2

# The name prefix of the job queue library's tables and indexes.
_LIBRARY = "procrastinate"

Declared = Sequence[tuple[str, str, str]]


def invalid(indexes: Sequence[Index]) -> list[Finding]:
    """Report invalid indexes, which a failed CREATE INDEX CONCURRENTLY leaves behind."""
    findings = []
    for index in indexes:
        if index.valid or index.being_built:
            continue
        # A failed REINDEX CONCURRENTLY leaves a copy named _ccnew or _ccold beside the original.
        leftover = index.name.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        verb = "DROP INDEX CONCURRENTLY" if leftover else "REINDEX INDEX CONCURRENTLY"
        findings.append(
            Finding(
                "indexes",
                "problem",
                f"index {index.name} of {index.table} is invalid: no query uses it",
                _evidence(index),
                "Its creation failed, but every write may maintain it. If the command below fails: "
                f"DROP INDEX CONCURRENTLY {index.identifier};",
                f"{verb} {index.identifier};",
            )
        )
    return bounded(findings)


def duplicates(indexes: Sequence[Index]) -> list[Finding]:
    """Report duplicate indexes, except those that enforce a constraint."""
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
                f"index {index.name} of {index.table} duplicates index {kept.name}",
                {**_evidence(index), "same_as": kept.name},
                "Every write maintains both indexes. Drop the duplicate:",
                f"DROP INDEX CONCURRENTLY {index.identifier};",
            )
            for index in others
            if not index.constrains
        ]
    return bounded(findings)


def unused(indexes: Sequence[Index], activity: Activity, declared: Declared) -> list[Finding]:
    """Report indexes that no query has used, although queries have read their tables.

    Indexes that enforce a constraint or support a foreign key are never reported.
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
        title = (
            f"{len(found)} indexes have not been used since {since}, but it is too early to tell"
        )
        facts: Facts = {"indexes": names, "bytes": sum(index.bytes for index in found)}
        return [Finding("indexes", "fine", title, {**facts, "days": round(activity.days, 2)})]
    ours = {name for _, name, _ in declared}
    return bounded([_unused(index, since, ours=index.name in ours) for index in found])


def _unused(index: Index, since: str, *, ours: bool) -> Finding:
    advice = "A replica counts its own scans: check it first (deals doctor --replica)."
    if ours:
        advice += " The models declare the index: remove it there, and drop it in a revision."
    title = (
        f"index {index.name} of {index.table} ({size(index.bytes)}) has not been used since {since}"
    )
    evidence: Facts = {**_evidence(index), "since": since}
    remedy = f"DROP INDEX CONCURRENTLY {index.identifier};"
    return Finding("indexes", "warning", title, evidence, advice, remedy)


def undone(indexes: Sequence[Index], tables: Sequence[Table], declared: Declared) -> list[Finding]:
    """Report indexes that the models declare but the database lacks."""
    rows = {table.name: table.rows for table in tables}
    present = {index.name for index in indexes}
    return bounded(
        [
            Finding(
                "indexes",
                "problem" if rows[table] >= LARGE_TABLE_ROWS else "warning",
                f"index {name} of {table} is missing, although the models declare it",
                {"index": name, "table": table, "rows": rows[table]},
                "It was dropped without a migration. Create it again:",
                f"{statement};",
            )
            for table, name, statement in declared
            if table in rows and name not in present
        ]
    )


def scans(tables: Sequence[Table], activity: Activity) -> list[Finding]:
    """Report large tables with many sequential scans, if such a scan ran in the last day."""
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
                f"{share:.0%} of the scans of {table.name} ({table.rows:,} rows) read the whole "
                "table",
                evidence,
                "Find the slow route in the access log (sql_ms), or let the server log statements "
                "that take longer than 200 ms (the command below), and EXPLAIN them. After the "
                "fix, reset the counters: "
                f"SELECT pg_stat_reset_single_table_counters('{table.identifier}'::regclass);",
                "ALTER SYSTEM SET log_min_duration_statement = '200ms'; SELECT pg_reload_conf();",
            )
        )
    return bounded(findings)


def foreign_keys(found: Sequence[ForeignKey]) -> list[Finding]:
    """Report large tables' unindexed foreign keys, because they slow deletes of referenced rows."""
    return bounded(
        [
            Finding(
                "indexes",
                "warning",
                f"the foreign key {key.table} ({key.columns}) to {key.target} has no index",
                {"table": key.table, "constraint": key.name, "rows": key.rows},
                f"Each delete in {key.target} reads the whole table {key.table}.",
                f"CREATE INDEX CONCURRENTLY ON {identifier(key.schema, key.table)} "
                f"({key.columns});",
            )
            for key in found
            if key.rows >= LARGE_TABLE_ROWS and not key.table.startswith(_LIBRARY)
        ]
    )


def together(kinds: Sequence[Sequence[Finding]], count: int) -> list[Finding]:
    """Join the lists of findings. If all lists are empty, return one `fine` finding."""
    findings = list(chain.from_iterable(kinds))
    return findings or findings_or_ok(
        "indexes", [], f"{count} indexes: none is missing, invalid or duplicate"
    )


def _evidence(index: Index) -> Facts:
    return {
        "index": index.name,
        "table": index.table,
        "bytes": index.bytes,
        "scans": index.scans,
        "table_scans": index.table_scans,
    }
