"""Rules that compare the server's settings with its machine and the service's needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.config import Settings
from app.db.session import READ_SESSIONS
from app.doctor.catalog_rows import Server, Setting
from app.doctor.context import DiagnosisContext
from app.doctor.findings import Facts, Finding, Severity, size

# The connections of a worker: five for the job queue (four in its pool, one listener), four for a
# load (one of them for its journal, two for merges), one each for housekeeping and for the requeue
# of orphaned imports, and one spare.
WORKER_CONNECTIONS = 12
# shared_buffers as a share of the memory. PostgreSQL's docs suggest 25 %, and rarely over 40 %.
BUFFERS_LEAST, BUFFERS_GOOD, BUFFERS_MOST = 0.10, 0.25, 0.50
# The default random_page_cost suits hard disks. A database below 1 GB suffers little from the
# default on an SSD, because such a database fits into memory.
TURNING_DISK = 4.0
LARGE_DATABASE = 1024**3


_READ_ONLY = "default_transaction_read_only"


@dataclass(frozen=True)
class _Rule:
    """A setting to report if its value is `value`. `why` is the reason, `better` a better value."""

    name: str
    value: str
    severity: Severity
    why: str
    better: str


_RULES = (
    _Rule("fsync", "off", "problem", "a crash of the machine destroys the database", "on"),
    _Rule("full_page_writes", "off", "problem", "a crash of the machine can corrupt pages", "on"),
    _Rule("autovacuum", "off", "problem", "tables bloat and transaction ids run out", "on"),
    _Rule("track_counts", "off", "problem", "autovacuum does not know which tables need it", "on"),
    _Rule("synchronous_commit", "off", "warning", "a crash loses the latest commits", "on"),
    _Rule(_READ_ONLY, "on", "problem", "every write is refused", "off"),
    _Rule("jit", "on", "fine", "the service turns it off for its own connections only", "off"),
    _Rule(
        "track_io_timing", "off", "fine", "EXPLAIN and statistics do not show disk waits", "on"
    ),
    _Rule("statement_timeout", "0", "fine", "other clients' statements have no limit", "10min"),
    _Rule(
        "idle_in_transaction_session_timeout",
        "0",
        "fine",
        "an idle client can hold the locks of its transaction without limit",
        "10min",
    ),
)  # fmt: skip

_OTHERS = (
    "shared_buffers",
    "work_mem",
    "random_page_cost",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "autovacuum_freeze_max_age",
    "vacuum_failsafe_age",
)
# All settings that the doctor's rules need.
NAMES = (*(rule.name for rule in _RULES), *_OTHERS)


def altered(name: str, value: str, *, restart: bool = False) -> str:
    """Return SQL that changes a setting. The SQL reloads it, or asks for a restart in a comment."""
    how = "-- and restart PostgreSQL" if restart else "SELECT pg_reload_conf();"
    return f"ALTER SYSTEM SET {name} = '{value}'; {how}"


def single(found: Mapping[str, Setting], *, standby: bool) -> list[Finding]:
    """Report settings with a harmful or poor value, and changes that wait for a restart."""
    findings = [
        Finding(
            "settings",
            rule.severity,
            f"{rule.name} is {rule.value}: {rule.why}",
            {"setting": rule.name, "value": rule.value},
            remedy=altered(rule.name, rule.better),
        )
        for rule in _RULES
        if rule.name in found
        and found[rule.name].value == rule.value
        and not (standby and rule.name == _READ_ONLY)
    ]
    pending = [setting.name for setting in found.values() if setting.pending_restart]
    if pending:
        title = f"changed settings wait for a restart of PostgreSQL: {', '.join(pending)}"
        findings.append(Finding("settings", "warning", title, {"settings": ", ".join(pending)}))
    return findings


def sizes(
    found: Mapping[str, Setting], memory: int | None, database_bytes: int | None
) -> list[Finding]:
    """Compare PostgreSQL's memory and cost settings with the machine and the database's size."""
    buffers, work = found["shared_buffers"].bytes, found["work_mem"].bytes
    connections = int(found["max_connections"].value)
    evidence: Facts = {
        "shared_buffers_bytes": buffers,
        "work_mem_bytes": work,
        "memory_bytes": memory,
        "database_bytes": database_bytes,
    }
    findings = []
    if memory is None:
        title = f"shared_buffers is {size(buffers)}, and the server's memory is not known"
        findings.append(Finding("settings", "fine", title, evidence))
    else:
        findings.append(_buffers(buffers, memory, database_bytes or 0))
        if work * connections > memory:
            title = f"work_mem ({size(work)}) times {connections} connections exceeds the memory"
            remedy = altered("work_mem", f"{max(memory // connections // 4 // 1024, 64)}kB")
            findings.append(Finding("settings", "warning", title, evidence, remedy=remedy))
    cost = float(found["random_page_cost"].value)
    if cost >= TURNING_DISK:
        title = f"random_page_cost is {cost:g}, a value for hard disks: the planner avoids indexes"
        severity: Severity = "warning" if (database_bytes or 0) > LARGE_DATABASE else "fine"
        facts: Facts = {"setting": "random_page_cost", "value": cost}
        remedy = altered("random_page_cost", "1.1")
        advice = "If the database is on an SSD:"
        findings.append(Finding("settings", severity, title, facts, advice, remedy))
    return findings


def _buffers(buffers: int, memory: int, database_bytes: int) -> Finding:
    share = buffers / memory
    evidence: Facts = {
        "shared_buffers_bytes": buffers,
        "memory_bytes": memory,
        "memory_ratio": round(share, 4),
        "database_bytes": database_bytes,
    }
    title = f"shared_buffers is {size(buffers)}, {share:.1%} of the memory ({size(memory)})"
    good = max(int(memory * BUFFERS_GOOD) // 1024**2, 128)
    remedy = altered("shared_buffers", f"{good}MB", restart=True)
    if share > BUFFERS_MOST:
        advice = "The operating system's cache, the sessions and their sorts need the rest."
        return Finding("settings", "warning", title, evidence, advice, remedy)
    if share < BUFFERS_LEAST and database_bytes > buffers:
        advice = f"The database has {size(database_bytes)}, and more of it could be in memory."
        return Finding("settings", "warning", title, evidence, advice, remedy)
    return Finding("settings", "fine", title, evidence)


def pool_connections(settings: Settings) -> int:
    """Return the maximum number of connections that one server process opens."""
    pool = settings.db_pool_size + settings.db_max_overflow
    return 2 * pool + _other_connections(settings)


def _other_connections(settings: Settings) -> int:
    return READ_SESSIONS + settings.export_concurrency + 1


def max_connections(found: Mapping[str, Setting]) -> int:
    """Return the server's connection limit, less the connections for privileged roles."""
    reserved = ("superuser_reserved_connections", "reserved_connections")
    return int(found["max_connections"].value) - sum(int(found[name].value) for name in reserved)


def connection_budget(found: Mapping[str, Setting], server: Server) -> int:
    """Return the lowest of the connection limits of the server, the database and the role."""
    limits = [limit for limit in (server.role_limit, server.database_limit) if limit >= 0]
    return min([max_connections(found), *limits])


def capacity(
    found: Mapping[str, Setting], server: Server, situation: DiagnosisContext
) -> list[Finding]:
    """Check that the connection limit suffices for a worker and the full pools of all processes."""
    each, most = pool_connections(situation.settings), connection_budget(found, server)
    wanted = situation.processes * each + WORKER_CONNECTIONS
    evidence: Facts = {
        "connections": most,
        "wanted": wanted,
        "processes": situation.processes,
        "each_process": each,
        "worker": WORKER_CONNECTIONS,
    }
    title = (
        f"{situation.processes} × {each} connections of `deals serve --workers "
        f"{situation.processes}` and {WORKER_CONNECTIONS} of a worker"
    )
    if wanted <= most:
        return [Finding("pools", "fine", f"{title} fit into the limit of {most}", evidence)]
    fitting = (most - WORKER_CONNECTIONS) // situation.processes
    per_pool = max((fitting - _other_connections(situation.settings)) // 2, 1)
    overflow = max(per_pool - situation.settings.db_pool_size, 0)
    remedy = altered("max_connections", str(wanted + 10), restart=True)
    if most < max_connections(found):
        evidence |= {"role_limit": server.role_limit, "database_limit": server.database_limit}
        whose = f'ROLE "{server.role}"'
        if most == server.database_limit:
            whose = f'DATABASE "{server.database}"'
        remedy = f"ALTER {whose} CONNECTION LIMIT {wanted + 10};"
    return [
        Finding(
            "pools",
            "problem",
            f"{title} exceed the limit of {most}: under load, connections are refused",
            evidence,
            f"Set DB_POOL_SIZE={min(situation.settings.db_pool_size, per_pool)} "
            f"DB_MAX_OVERFLOW={overflow} for the service, or raise the limit:",
            remedy,
        )
    ]
