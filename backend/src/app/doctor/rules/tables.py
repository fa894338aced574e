"""Tables: dead rows, old statistics, sizes."""

from collections.abc import Sequence

from app.doctor.catalog_rows import Table
from app.doctor.findings import Facts, Finding, findings_or_ok, size

# Autovacuum comes at a fifth of dead rows (autovacuum_vacuum_scale_factor); where there are half as
# many dead as living ones it has not come, or could not remove them.
DEAD_WARNING, DEAD_PROBLEM = 0.25, 0.50
# Fewer are gone before one has read this.
DEAD_ROWS = 10_000
# Autoanalyze comes at a tenth (autovacuum_analyze_scale_factor).
MODIFIED_WARNING = 0.50
MODIFIED_ROWS = 10_000
_LARGEST = 5


def vacuum(tables: Sequence[Table]) -> list[Finding]:
    """Dead rows that are read, and stored, with the living ones."""
    findings = []
    for table in tables:
        # After a reset of the counters `live` is too few; the planner's number is still there.
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
                f"{ratio:.0%} of the rows of {table.name} are dead: {table.dead:,}",
                evidence,
                "when that removes none, a transaction holds them: see idle, queries, prepared, "
                "slots; VACUUM FULL, which locks the table, gives the room back to the disk",
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
    """Tables of which the planner has a wrong idea."""
    findings = []
    for table in tables:
        never = not table.analyzed and table.live >= MODIFIED_ROWS
        much = table.modified >= max(MODIFIED_ROWS, MODIFIED_WARNING * table.rows)
        if not never and not much:
            continue
        changed = f"{table.modified:,} changes since its last analyze"
        what = "was never analyzed" if never else f"has {changed}"
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
                f"{table.name} {what}: the planner knows another table",
                evidence,
                remedy=f"ANALYZE {table.identifier};",
            )
        )
    return findings_or_ok("statistics", findings, "the planner knows the tables")


def sizes(tables: Sequence[Table], database_bytes: int | None) -> list[Finding]:
    """What the largest tables take, with their indexes; as of their last vacuum or analyze."""
    if not tables:
        return [Finding("sizes", "fine", "the database has no tables")]
    largest = sorted(tables, key=lambda table: table.bytes + table.index_bytes, reverse=True)
    evidence: Facts = {
        table.name: f"{table.rows:,} rows, {size(table.bytes)}, indexes {size(table.index_bytes)}"
        for table in largest[:_LARGEST]
    }
    whole = "of a size that is not shown" if database_bytes is None else size(database_bytes)
    title = f"the database is {whole}, in {len(tables)} tables"
    return [Finding("sizes", "fine", title, {"database_bytes": database_bytes, **evidence})]
