"""Rules for tables: dead rows, outdated statistics and sizes."""

from collections.abc import Sequence

from app.doctor.catalog_rows import Table
from app.doctor.findings import Facts, Finding, findings_or_ok, size

# Shares of dead rows. Autovacuum starts at 0.2 (autovacuum_vacuum_scale_factor). A higher share
# means that autovacuum did not run or could not remove the rows.
DEAD_WARNING, DEAD_PROBLEM = 0.25, 0.50
# Ignore tables with fewer dead rows.
DEAD_ROWS = 10_000
# The share of changed rows. Autovacuum analyzes a table at 0.1 (autovacuum_analyze_scale_factor).
MODIFIED_WARNING = 0.50
MODIFIED_ROWS = 10_000
_LARGEST = 5


def vacuum(tables: Sequence[Table]) -> list[Finding]:
    """Report tables with many dead rows, and tables without autovacuum."""
    findings = []
    for table in tables:
        # `live` is too low after a reset of the counters, so use the planner's row estimate.
        ratio = table.dead / max(table.dead + table.rows, 1)
        if table.dead < DEAD_ROWS or ratio < DEAD_WARNING:
            continue
        evidence: Facts = {
            "table": table.name,
            "rows": table.rows,
            "dead": table.dead,
            "dead_ratio": round(ratio, 3),
            "last_vacuum": table.last_vacuum,
            "bytes": table.bytes,
        }
        findings.append(
            Finding(
                "vacuum",
                "problem" if ratio >= DEAD_PROBLEM else "warning",
                f"{ratio:.0%} of the rows of {table.name} are dead ({table.dead:,} rows)",
                evidence,
                "If VACUUM removes none, a transaction or slot needs them: see the checks idle, "
                "queries, prepared and slots. VACUUM FULL returns the space to the disk, but it "
                "locks the table.",
                f"VACUUM (ANALYZE, VERBOSE) {table.identifier};",
            )
        )
    findings += [_without_autovacuum(table) for table in tables if not table.autovacuum]
    return findings_or_ok("vacuum", findings, "no table has many dead rows")


def _without_autovacuum(table: Table) -> Finding:
    title = f"autovacuum is turned off for {table.name}"
    evidence: Facts = {"table": table.name, "rows": table.rows, "last_vacuum": table.last_vacuum}
    remedy = f"ALTER TABLE {table.identifier} RESET (autovacuum_enabled);"
    return Finding("vacuum", "warning", title, evidence, remedy=remedy)


def analyze(tables: Sequence[Table]) -> list[Finding]:
    """Report tables with missing or outdated planner statistics."""
    findings = []
    for table in tables:
        never = not table.analyzed and table.live >= MODIFIED_ROWS
        much = table.modified >= max(MODIFIED_ROWS, MODIFIED_WARNING * table.rows)
        if not never and not much:
            continue
        changed = f"{table.modified:,} changes since its last analyze"
        what = (
            "was never analyzed: the planner has no statistics"
            if never
            else f"has {changed}: the planner's statistics are outdated"
        )
        evidence: Facts = {
            "table": table.name,
            "rows": table.rows,
            "modified": table.modified,
            "last_analyze": table.last_analyze,
        }
        findings.append(
            Finding(
                "statistics",
                "warning",
                f"{table.name} {what}",
                evidence,
                remedy=f"ANALYZE {table.identifier};",
            )
        )
    return findings_or_ok("statistics", findings, "the planner's statistics are up to date")


def sizes(tables: Sequence[Table], database_bytes: int | None) -> list[Finding]:
    """Report the largest tables with their index sizes, as of the last vacuum or analyze."""
    if not tables:
        return [Finding("sizes", "fine", "the database has no tables")]
    largest = sorted(tables, key=lambda table: table.bytes + table.index_bytes, reverse=True)
    evidence: Facts = {
        table.name: f"{table.rows:,} rows, {size(table.bytes)}, indexes {size(table.index_bytes)}"
        for table in largest[:_LARGEST]
    }
    whole = "an unknown size" if database_bytes is None else size(database_bytes)
    title = f"the database has {whole} in {len(tables)} tables"
    return [Finding("sizes", "fine", title, {"database_bytes": database_bytes, **evidence})]
