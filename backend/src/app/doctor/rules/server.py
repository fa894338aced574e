"""Rules for the server: version, clock, schema, counters, wraparound, slots and disk."""

import shutil
from collections.abc import Sequence
from datetime import timedelta

from app.core.config import Settings
from app.doctor.catalog_rows import Activity, Age, Server, Setting, Slot
from app.doctor.connection import Answer, Target
from app.doctor.context import DiagnosisContext
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok, size

# The oldest PostgreSQL version that the service is tested with.
OLDEST_VERSION = 160_000
# The largest acceptable replica lag, in seconds.
REPLAY_SECONDS = 30.0
# Clock differences to report, in seconds. Detection of dead workers tolerates only seconds.
SKEW_WARNING, SKEW_PROBLEM = 1.0, 60.0
# The usual cache hit ratio if the database fits into memory. A lower ratio means disk reads.
CACHE_RATIO = 0.95
# Fewer block reads (800 MB) are normal after a server start, and cause no warning.
CACHE_BLOCKS = 100_000
# Warn if queries write more bytes of temporary files per hour.
TEMP_BYTES_AN_HOUR = 1024**3
# The minimum free disk space. PostgreSQL needs some to start, and the service stores uploads.
LEAST_DISK = 64 * 1024**2


def server(
    found: Server, target: Target, seconds: float, situation: DiagnosisContext
) -> list[Finding]:
    """Report the server, and any old version, slow connection, standby or missing permission."""
    allowed = situation.settings.db_connect_timeout
    evidence: Facts = {
        "host": ", ".join(target.hosts),
        "database": target.database,
        "role": found.role,
        "version": found.version,
        "started": found.started,
        "connected_seconds": round(seconds, 3),
    }
    findings = []
    if found.version_number < OLDEST_VERSION:
        title = f"PostgreSQL {found.version} is older than 16, the oldest tested version"
        findings.append(Finding("server", "warning", title, evidence, "Upgrade the server."))
    if seconds > allowed:
        title = (
            f"connecting took {duration(seconds)}, but requests wait {duration(allowed)} at most"
        )
        advice = "The server is overloaded or far away. DB_CONNECT_TIMEOUT sets the requests' wait."
        findings.append(Finding("server", "problem", title, evidence, advice))
    if found.standby:
        findings.append(_standby(found, situation))
    if not found.sees_all:
        title = f"the role {found.role} sees the states and statements of its own sessions only"
        remedy = f'GRANT pg_monitor TO "{found.role}";'
        findings.append(Finding("server", "unknown", title, {"role": found.role}, remedy=remedy))
    title = f"PostgreSQL {found.version} at {target} accepts connections"
    return [*findings, Finding("server", "fine", title, evidence)]


def _standby(found: Server, situation: DiagnosisContext) -> Finding:
    evidence: Facts = {"replay_seconds": found.replay_seconds}
    if not situation.replica:
        advice = "DATABASE_URL must lead to the primary. A standby belongs in READ_DATABASE_URL."
        title = "the server is a standby: every write gets a 503 response"
        return Finding("server", "problem", title, evidence, advice)
    late = found.replay_seconds or 0.0
    if late > REPLAY_SECONDS:
        title = f"the replica lag is {duration(late)}: reads return data of that age"
        advice = "Look for long queries on the replica, which delay the replay."
        return Finding("server", "warning", title, evidence, advice)
    return Finding("server", "fine", "the server is a standby, as expected", evidence)


def clock(answer: Answer) -> list[Finding]:
    """Compare the server's clock with this machine's clock at the middle of the round trip."""
    middle = answer.asked + timedelta(seconds=answer.seconds / 2)
    skew = (answer.value - middle).total_seconds()
    evidence: Facts = {
        "skew_seconds": round(skew, 4),
        "round_trip_seconds": round(answer.seconds, 4),
    }
    # The measured difference may be wrong by half of the round trip.
    certain = max(abs(skew) - answer.seconds / 2, 0.0)
    where = "ahead of" if skew > 0 else "behind"
    title = f"the server's clock is {duration(abs(skew))} {where} this machine's"
    if certain < SKEW_WARNING:
        return [Finding("clock", "fine", "the clocks agree", evidence)]
    severity: Severity = "problem" if certain >= SKEW_PROBLEM else "warning"
    advice = "Synchronize the clocks of both machines by NTP. On each of them, check:"
    return [Finding("clock", severity, title, evidence, advice, "timedatectl status")]


def schema(found: Sequence[str] | None, known: Sequence[str]) -> list[Finding]:
    """Compare the schema's revision with the latest revision of this code."""
    if not known:
        title = "this installation contains no migrations to compare with"
        return [Finding("schema", "unknown", title, {"database": ", ".join(found or ())})]
    head = known[-1]
    evidence: Facts = {"database": ", ".join(found or ()) or None, "code": head}
    if not found:
        title = "the database has no schema yet"
        return [Finding("schema", "problem", title, evidence, remedy="deals migrate")]
    if list(found) == [head]:
        title = f"the schema is at {head}, the latest revision of this code"
        return [Finding("schema", "fine", title, evidence)]
    if unknown := [revision for revision in found if revision not in known]:
        title = f"the database is newer than this code: it is at {', '.join(unknown)}"
        advice = (
            "Run a version of the service that has this revision. "
            f"The latest revision of this code is {head}."
        )
        return [Finding("schema", "problem", title, evidence, advice)]
    behind = len(known) - 1 - max(known.index(revision) for revision in found)
    title = f"the schema is {behind} revision{'s' if behind > 1 else ''} behind"
    return [Finding("schema", "problem", title, evidence, remedy="deals migrate")]


def activity(found: Activity, database_bytes: int | None) -> list[Finding]:
    """Report a low cache hit ratio, and many temporary files."""
    blocks = found.blocks_hit + found.blocks_read
    ratio = found.blocks_hit / blocks if blocks else 1.0
    evidence: Facts = {
        "hit_ratio": round(ratio, 4),
        "blocks_read": found.blocks_read,
        "database_bytes": database_bytes,
        "since": found.since,
    }
    findings = []
    if ratio < CACHE_RATIO and found.blocks_read >= CACHE_BLOCKS:
        title = f"{1 - ratio:.1%} of the block reads were not served from shared_buffers"
        advice = "Raise shared_buffers, or find queries that read whole tables (see indexes)."
        findings.append(Finding("cache", "warning", title, evidence, advice))
    else:
        findings.append(
            Finding("cache", "fine", f"{ratio:.1%} of the block reads were cached", evidence)
        )
    if found.temp_bytes > TEMP_BYTES_AN_HOUR * max(found.days * 24, 1):
        title = f"queries wrote {found.temp_files} temporary files ({size(found.temp_bytes)})"
        on_disk: Facts = {"temp_bytes": found.temp_bytes, "since": found.since}
        remedy = "ALTER SYSTEM SET log_temp_files = '10MB'; SELECT pg_reload_conf();"
        advice = (
            "Log them to find their queries, then raise work_mem for the role of these queries:"
        )
        findings.append(Finding("cache", "warning", title, on_disk, advice, remedy))
    return findings


def ages(found: Sequence[Age], settings: dict[str, Setting]) -> list[Finding]:
    """Report databases that approach transaction id wraparound."""
    forced = int(settings["autovacuum_freeze_max_age"].value)
    failsafe = int(settings["vacuum_failsafe_age"].value)
    findings = []
    for age in found:
        oldest = max(age.transactions, age.multixacts)
        # Ages up to twice autovacuum_freeze_max_age are normal. From vacuum_failsafe_age on, vacuum
        # skips all work except freezing rows.
        if oldest <= 2 * forced and oldest < failsafe:
            continue
        severity: Severity = "problem" if oldest >= failsafe else "warning"
        title = f"the oldest unfrozen id of database {age.database} is {oldest:,} transactions old"
        evidence: Facts = {"age": oldest, "autovacuum_at": forced, "failsafe_at": failsafe}
        advice = (
            "First end the idle sessions, prepared transactions and slots that hold back vacuum:"
        )
        remedy = f"vacuumdb --freeze --jobs=2 --dbname={age.database}"
        findings.append(Finding("wraparound", severity, title, evidence, advice, remedy))
    oldest = max((age.transactions for age in found), default=0)
    title = f"the oldest unfrozen row is {oldest:,} transactions old"
    return findings_or_ok("wraparound", findings, title)


def slots(found: Sequence[Slot]) -> list[Finding]:
    """Report inactive replication slots, which fill the disk with WAL."""
    findings = [
        Finding(
            "slots",
            "warning" if slot.wal_status == "reserved" else "problem",
            f"replication slot {slot.name} is inactive and keeps WAL",
            {"slot": slot.name, "wal_status": slot.wal_status},
            "Start the replica of this slot, or drop the slot:",
            f"SELECT pg_drop_replication_slot('{slot.name}');",
        )
        for slot in found
        if not slot.active
    ]
    return findings_or_ok("slots", findings, f"replication slots: {len(found)}, none inactive")


def disk(settings: Settings) -> list[Finding]:
    """Check the free space in DATA_DIR for uploads and the embedded database."""
    if not settings.data_dir.is_dir():
        return []
    free = shutil.disk_usage(settings.data_dir).free
    evidence: Facts = {"folder": str(settings.data_dir), "free_bytes": free}
    advice = "Free some space, which uploads and the embedded database need. Check the disk:"
    remedy = f"df -h {settings.data_dir}"
    title = f"the disk of DATA_DIR has {size(free)} free"
    if free < LEAST_DISK:
        return [Finding("disk", "problem", title, evidence, advice, remedy)]
    if free < settings.max_upload_bytes:
        title += f", less than the largest allowed upload ({size(settings.max_upload_bytes)})"
        return [Finding("disk", "warning", title, evidence, advice, remedy)]
    return [Finding("disk", "fine", title, evidence)]
