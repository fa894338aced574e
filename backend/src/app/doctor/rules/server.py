"""The server as such: what answers, its clock, its schema, its age, what it has counted."""

import shutil
from collections.abc import Sequence
from datetime import timedelta

from app.core.config import Settings
from app.doctor.catalog_rows import Activity, Age, Server, Setting, Slot
from app.doctor.connection import Answer, Target
from app.doctor.context import DiagnosisContext
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok, size

# The oldest PostgreSQL that the service is tested with.
OLDEST_VERSION = 160_000
# Who reads from a replica must not be told yesterday's prices.
REPLAY_SECONDS = 30.0
# Workers are taken for dead, and dates of today are chosen, by clocks: the first by seconds.
SKEW_WARNING, SKEW_PROBLEM = 1.0, 60.0
# What is said to be usual of a database that fits its memory; below it disks are read all the time.
CACHE_RATIO = 0.95
# Fewer blocks than these (800 MB) are what a start has to read anyway.
CACHE_BLOCKS = 100_000
# Sorts that do not fit work_mem; more an hour than this and they are a habit.
TEMP_BYTES_AN_HOUR = 1024**3
# At a new start PostgreSQL needs some MB to begin with; uploads are stored before they are loaded.
LEAST_DISK = 64 * 1024**2


def server(
    found: Server, target: Target, seconds: float, situation: DiagnosisContext
) -> list[Finding]:
    """Who answers, how fast, and whether it can do what it is there for."""
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
        title = f"PostgreSQL {found.version} is older than what the service is tested with (16)"
        findings.append(Finding("server", "warning", title, evidence, "upgrade the server"))
    if seconds > allowed:
        title = f"connecting took {duration(seconds)}; requests wait for {duration(allowed)}"
        advice = "the server is overloaded, or far away; DB_CONNECT_TIMEOUT is how long to wait"
        findings.append(Finding("server", "problem", title, evidence, advice))
    if found.standby:
        findings.append(_standby(found, situation))
    if not found.sees_all:
        title = f"the role {found.role} sees only its own sessions' states and statements"
        remedy = f'GRANT pg_monitor TO "{found.role}";'
        findings.append(Finding("server", "unknown", title, {"role": found.role}, remedy=remedy))
    title = f"PostgreSQL {found.version} at {target} answers"
    return [*findings, Finding("server", "fine", title, evidence)]


def _standby(found: Server, situation: DiagnosisContext) -> Finding:
    evidence: Facts = {"replay_seconds": found.replay_seconds}
    if not situation.replica:
        advice = "DATABASE_URL must be the primary; a standby is for READ_DATABASE_URL"
        return Finding(
            "server", "problem", "it is a standby: every write is answered 503", evidence, advice
        )
    late = found.replay_seconds or 0.0
    if late > REPLAY_SECONDS:
        title = f"the replica is {duration(late)} behind: reads are that old"
        advice = "look for long queries on it, which hold up what it replays"
        return Finding("server", "warning", title, evidence, advice)
    return Finding("server", "fine", "it is a standby, as it is to be", evidence)


def clock(answer: Answer) -> list[Finding]:
    """How far this machine's clock is from the server's; the middle of the question is the time."""
    middle = answer.asked + timedelta(seconds=answer.seconds / 2)
    skew = (answer.value - middle).total_seconds()
    evidence: Facts = {
        "skew_seconds": round(skew, 4),
        "round_trip_seconds": round(answer.seconds, 4),
    }
    # Half of the round trip may be the question's or the answer's.
    certain = max(abs(skew) - answer.seconds / 2, 0.0)
    where = "ahead of" if skew > 0 else "behind"
    title = f"the server's clock is {duration(abs(skew))} {where} this machine's"
    if certain < SKEW_WARNING:
        return [Finding("clock", "fine", "the clocks agree", evidence)]
    severity: Severity = "problem" if certain >= SKEW_PROBLEM else "warning"
    advice = "have both machines keep time by NTP; on each, look at:"
    return [Finding("clock", severity, title, evidence, advice, "timedatectl status")]


def schema(found: Sequence[str] | None, known: Sequence[str]) -> list[Finding]:
    """Whether the database is what this code is written for."""
    if not known:
        title = "this installation carries no migrations to compare with"
        return [Finding("schema", "unknown", title, {"database": ", ".join(found or ())})]
    head = known[-1]
    evidence: Facts = {"database": ", ".join(found or ()) or None, "code": head}
    if not found:
        title = "the database has no schema yet"
        return [Finding("schema", "problem", title, evidence, remedy="deals migrate")]
    if list(found) == [head]:
        return [Finding("schema", "fine", f"the schema is at {head}, as the code is", evidence)]
    if unknown := [revision for revision in found if revision not in known]:
        title = f"the database is newer than this code: it is at {', '.join(unknown)}"
        advice = f"run the version of the service that has it; this one ends with {head}"
        return [Finding("schema", "problem", title, evidence, advice)]
    behind = len(known) - 1 - max(known.index(revision) for revision in found)
    title = f"the schema is {behind} revision{'s' if behind > 1 else ''} behind"
    return [Finding("schema", "problem", title, evidence, remedy="deals migrate")]


def activity(found: Activity, database_bytes: int | None) -> list[Finding]:
    """Whether what is read comes from memory, and whether sorts fit into it."""
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
        title = f"{1 - ratio:.1%} of the blocks that were read were not in shared_buffers"
        advice = "raise shared_buffers, or find what reads whole tables (see tables, indexes)"
        findings.append(Finding("cache", "warning", title, evidence, advice))
    else:
        findings.append(
            Finding("cache", "fine", f"{ratio:.1%} of the blocks were in memory", evidence)
        )
    if found.temp_bytes > TEMP_BYTES_AN_HOUR * max(found.days * 24, 1):
        title = f"{found.temp_files} sorts did not fit work_mem: {size(found.temp_bytes)} on disk"
        on_disk: Facts = {"temp_bytes": found.temp_bytes, "since": found.since}
        remedy = "ALTER SYSTEM SET log_temp_files = '10MB'; SELECT pg_reload_conf();"
        advice = "find which ones, then raise work_mem for their role"
        findings.append(Finding("cache", "warning", title, on_disk, advice, remedy))
    return findings


def ages(found: Sequence[Age], settings: dict[str, Setting]) -> list[Finding]:
    """How near the end of its transaction numbers a database is; autovacuum keeps it away."""
    forced = int(settings["autovacuum_freeze_max_age"].value)
    failsafe = int(settings["vacuum_failsafe_age"].value)
    findings = []
    for age in found:
        oldest = max(age.transactions, age.multixacts)
        # Up to the first it is usual; at the second autovacuum drops everything else.
        if oldest <= 2 * forced and oldest < failsafe:
            continue
        severity: Severity = "problem" if oldest >= failsafe else "warning"
        title = f"database {age.database} has rows unfrozen for {oldest:,} transactions"
        evidence: Facts = {"age": oldest, "autovacuum_at": forced, "failsafe_at": failsafe}
        advice = "end what holds vacuum back (idle sessions, prepared transactions, slots) first"
        remedy = f"vacuumdb --freeze --jobs=2 --dbname={age.database}"
        findings.append(Finding("wraparound", severity, title, evidence, advice, remedy))
    oldest = max((age.transactions for age in found), default=0)
    return findings_or_ok("wraparound", findings, f"the oldest row is {oldest:,} transactions old")


def slots(found: Sequence[Slot]) -> list[Finding]:
    """Slots that nobody reads fill the disk with WAL."""
    findings = [
        Finding(
            "slots",
            "warning" if slot.wal_status == "reserved" else "problem",
            f"replication slot {slot.name} keeps WAL, and nobody reads it",
            {"slot": slot.name, "wal_status": slot.wal_status},
            "start the replica that it is for, or drop it",
            f"SELECT pg_drop_replication_slot('{slot.name}');",
        )
        for slot in found
        if not slot.active
    ]
    return findings_or_ok("slots", findings, f"replication slots: {len(found)}, all in use")


def disk(settings: Settings) -> list[Finding]:
    """The disk of DATA_DIR: of the embedded database, and of uploads without a bucket."""
    if not settings.data_dir.is_dir():
        return []
    free = shutil.disk_usage(settings.data_dir).free
    evidence: Facts = {"folder": str(settings.data_dir), "free_bytes": free}
    advice = "make room; uploads and the embedded database need it"
    remedy = f"df -h {settings.data_dir}"
    title = f"the disk of DATA_DIR has {size(free)} free"
    if free < LEAST_DISK:
        return [Finding("disk", "problem", title, evidence, advice, remedy)]
    if free < settings.max_upload_bytes:
        title += f", less than an upload may have ({size(settings.max_upload_bytes)})"
        return [Finding("disk", "warning", title, evidence, advice, remedy)]
    return [Finding("disk", "fine", title, evidence)]
