"""Connections and sessions: how many, and which of them stand in the way."""

from collections import Counter
from collections.abc import Mapping, Sequence

from app.doctor.catalog_rows import Connections, Prepared, Server, Session, Setting
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok
from app.doctor.rules.settings import max_connections

# A fifth is what a deployment needs for the new processes beside the old ones.
FULL_WARNING, FULL_PROBLEM = 0.80, 0.95
# The service's transactions take milliseconds between two statements; an hour's coffee begins so.
IDLE_WARNING, IDLE_PROBLEM = 10.0, 60.0
# What the service itself lets a load or an export take; nothing of it may run for longer.
RUNNING_PROBLEM = 3600.0
# A two-phase commit's second phase comes at once, or somebody has forgotten it.
PREPARED_WARNING, PREPARED_PROBLEM = 60.0, 3600.0


def connections(
    found: Sequence[Connections], settings: Mapping[str, Setting], server: Server
) -> list[Finding]:
    """How many there are, whose, and how many there may be."""
    count, most = _fullest(found, settings, server)
    by_kind: Counter[str] = Counter()
    for kind in found:
        by_kind[f"{kind.application or 'unnamed'} ({kind.state or 'state not shown'})"] += (
            kind.count
        )
    evidence: Facts = {
        "connections": count,
        "most": most,
        **dict(by_kind.most_common(10)),
    }
    title = f"{count} of {most} connections are taken"
    used = count / max(most, 1)
    if used < FULL_WARNING:
        return [Finding("connections", "fine", title, evidence)]
    severity: Severity = "problem" if used >= FULL_PROBLEM else "warning"
    advice = (
        "end idle sessions of who has too many (`deals doctor --kill PID`); then fewer processes, "
        "smaller pools (DB_POOL_SIZE, DB_MAX_OVERFLOW) or a larger max_connections; who is it:"
    )
    remedy = (
        "SELECT pid, usename, application_name, state, state_change FROM pg_stat_activity "
        "ORDER BY state_change LIMIT 20;"
    )
    return [Finding("connections", severity, title, evidence, advice, remedy)]


def _fullest(
    found: Sequence[Connections], settings: Mapping[str, Setting], server: Server
) -> tuple[int, int]:
    """Connections and their limit: the server's, the database's or the role's."""
    limits = [
        (sum(kind.count for kind in found), max_connections(settings)),
        (sum(kind.count for kind in found if kind.here), server.database_limit),
        (sum(kind.count for kind in found if kind.of_role), server.role_limit),
    ]
    # A limit of -1 is none.
    return max(
        (pair for pair in limits if pair[1] >= 0), key=lambda pair: pair[0] / max(pair[1], 1)
    )


def described(session: Session) -> Facts:
    """Who it is and what it does."""
    return {
        "pid": session.pid,
        "user": session.user,
        "application": session.application,
        "client": session.client or "local",
        "state": session.state,
        "transaction_seconds": rounded(session.transaction_seconds),
        "query_seconds": rounded(session.query_seconds),
        "wait": session.wait,
        "query": session.query,
    }


def rounded(seconds: float | None) -> float | None:
    """To what people want to know."""
    return None if seconds is None else round(seconds, 1)


def idle_in_transaction(found: Sequence[Session]) -> list[Finding]:
    """Sessions that keep their locks, and every dead row, and do nothing."""
    findings = []
    for session in found:
        idle = session.state_seconds or 0.0
        if idle < IDLE_WARNING:
            continue
        title = (
            f"pid {session.pid} ({session.application or 'unnamed'}, user {session.user}) is idle "
            f"in a transaction for {duration(idle)}"
        )
        evidence: Facts = {**described(session), "idle_seconds": rounded(idle)}
        findings.append(
            Finding(
                "idle",
                "problem" if idle >= IDLE_PROBLEM else "warning",
                title,
                evidence,
                "it holds its locks and keeps vacuum from removing rows; so that none can: "
                f"ALTER ROLE {session.user} SET idle_in_transaction_session_timeout = '60s';",
                f"deals doctor --kill {session.pid}",
            )
        )
    title = f"no session is idle in a transaction for {IDLE_WARNING:g} s or more"
    return findings_or_ok("idle", findings, title)


def running(found: Sequence[Session], statement_timeout: float) -> list[Finding]:
    """The statements that have been running for the longest time."""
    findings = []
    for session in found:
        seconds = session.query_seconds or 0.0
        if seconds <= statement_timeout:
            continue
        title = (
            f"pid {session.pid} ({session.application or 'unnamed'}, user {session.user}) runs a "
            f"statement for {duration(seconds)}"
        )
        findings.append(
            Finding(
                "queries",
                "problem" if seconds >= RUNNING_PROBLEM else "warning",
                title,
                described(session),
                "loads, exports and backups may; a request is cut off after "
                f"{duration(statement_timeout)}",
                f"deals doctor --kill {session.pid}",
            )
        )
    if findings:
        return findings_or_ok("queries", findings, "")
    title = f"no statement runs for longer than a request's may ({duration(statement_timeout)})"
    longest = {"longest_seconds": rounded(found[0].query_seconds)} if found else {}
    return [Finding("queries", "fine", title, longest)]


def prepared(found: Sequence[Prepared]) -> list[Finding]:
    """Transactions without a session, which no timeout ends."""
    findings = [
        Finding(
            "prepared",
            "problem" if one.seconds >= PREPARED_PROBLEM else "warning",
            f"transaction {one.gid} was prepared {duration(one.seconds)} ago and not ended",
            {"gid": one.gid, "owner": one.owner, "prepared_seconds": rounded(one.seconds)},
            "it holds its locks and keeps vacuum from removing rows, even after a restart",
            "ROLLBACK PREPARED '{}';".format(one.gid.replace("'", "''")),
        )
        for one in found
        if one.seconds >= PREPARED_WARNING
    ]
    return findings_or_ok("prepared", findings, "no prepared transaction was forgotten")
