"""Rules for connection counts, and for sessions that may block others."""

from collections import Counter
from collections.abc import Mapping, Sequence

from app.doctor.catalog_rows import Connections, Prepared, Server, Session, Setting
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok
from app.doctor.rules.settings import max_connections

# Shares of the connection limit. A fifth must stay free for the new processes of a deployment.
FULL_WARNING, FULL_PROBLEM = 0.80, 0.95
# Idle times in seconds. The service's own transactions are idle only for milliseconds.
IDLE_WARNING, IDLE_PROBLEM = 10.0, 60.0
# The time limit, in seconds, of loads and exports. They run the service's longest statements.
RUNNING_PROBLEM = 3600.0
# Ages of prepared transactions in seconds. Normally the commit follows immediately.
PREPARED_WARNING, PREPARED_PROBLEM = 60.0, 3600.0


def connections(
    found: Sequence[Connections], settings: Mapping[str, Setting], server: Server
) -> list[Finding]:
    """Compare the connection count with its limit, and list the counts by application."""
    count, most = _fullest(found, settings, server)
    by_kind: Counter[str] = Counter()
    for kind in found:
        by_kind[f"{kind.application or 'unnamed'} ({kind.state or 'state hidden'})"] += kind.count
    evidence: Facts = {
        "connections": count,
        "most": most,
        **dict(by_kind.most_common(10)),
    }
    title = f"{count} of {most} connections are in use"
    used = count / max(most, 1)
    if used < FULL_WARNING:
        return [Finding("connections", "fine", title, evidence)]
    severity: Severity = "problem" if used >= FULL_PROBLEM else "warning"
    advice = (
        "End idle sessions of the application with too many (`deals doctor --kill PID`). Then run "
        "fewer processes, reduce the pools (DB_POOL_SIZE, DB_MAX_OVERFLOW) or raise "
        "max_connections. List the sessions:"
    )
    remedy = (
        "SELECT pid, usename, application_name, state, state_change FROM pg_stat_activity "
        "ORDER BY state_change LIMIT 20;"
    )
    return [Finding("connections", severity, title, evidence, advice, remedy)]


def _fullest(
    found: Sequence[Connections], settings: Mapping[str, Setting], server: Server
) -> tuple[int, int]:
    """Return the connection count and limit of the server, database or role that is fullest."""
    limits = [
        (sum(kind.count for kind in found), max_connections(settings)),
        (sum(kind.count for kind in found if kind.here), server.database_limit),
        (sum(kind.count for kind in found if kind.of_role), server.role_limit),
    ]
    # A limit of -1 means no limit.
    return max(
        (pair for pair in limits if pair[1] >= 0), key=lambda pair: pair[0] / max(pair[1], 1)
    )


def described(session: Session) -> Facts:
    """Return a session's client and current activity, as evidence."""
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
    """Round seconds to one decimal place. Return None for None."""
    return None if seconds is None else round(seconds, 1)


def idle_in_transaction(found: Sequence[Session]) -> list[Finding]:
    """Report sessions that are idle in a transaction, because they keep locks and dead rows."""
    findings = []
    for session in found:
        idle = session.state_seconds or 0.0
        if idle < IDLE_WARNING:
            continue
        title = (
            f"pid {session.pid} ({session.application or 'unnamed'}, user {session.user}) has been "
            f"idle in a transaction for {duration(idle)}"
        )
        evidence: Facts = {**described(session), "idle_seconds": rounded(idle)}
        findings.append(
            Finding(
                "idle",
                "problem" if idle >= IDLE_PROBLEM else "warning",
                title,
                evidence,
                "The session holds its locks and keeps vacuum from removing dead rows. To limit "
                "such sessions: "
                f"ALTER ROLE {session.user} SET idle_in_transaction_session_timeout = '60s';",
                f"deals doctor --kill {session.pid}",
            )
        )
    title = f"no session has been idle in a transaction for {IDLE_WARNING:g} s or more"
    return findings_or_ok("idle", findings, title)


def running(found: Sequence[Session], statement_timeout: float) -> list[Finding]:
    """Report statements that have run longer than `statement_timeout`, a request's limit."""
    findings = []
    for session in found:
        seconds = session.query_seconds or 0.0
        if seconds <= statement_timeout:
            continue
        title = (
            f"pid {session.pid} ({session.application or 'unnamed'}, user {session.user}) has been "
            f"running a statement for {duration(seconds)}"
        )
        findings.append(
            Finding(
                "queries",
                "problem" if seconds >= RUNNING_PROBLEM else "warning",
                title,
                described(session),
                "Loads, exports and backups may take this long. The statement of a request is "
                f"cancelled after {duration(statement_timeout)}.",
                f"deals doctor --kill {session.pid}",
            )
        )
    if findings:
        return findings_or_ok("queries", findings, "")
    title = f"no statement runs longer than a request's limit ({duration(statement_timeout)})"
    longest = {"longest_seconds": rounded(found[0].query_seconds)} if found else {}
    return [Finding("queries", "fine", title, longest)]


def prepared(found: Sequence[Prepared]) -> list[Finding]:
    """Report old prepared transactions, because no timeout ends them."""
    findings = [
        Finding(
            "prepared",
            "problem" if one.seconds >= PREPARED_PROBLEM else "warning",
            f"transaction {one.gid} was prepared {duration(one.seconds)} ago and has not ended",
            {"gid": one.gid, "owner": one.owner, "prepared_seconds": rounded(one.seconds)},
            "It holds its locks and keeps vacuum from removing dead rows, even after a restart. "
            "Commit it, or roll it back:",
            "ROLLBACK PREPARED '{}';".format(one.gid.replace("'", "''")),
        )
        for one in found
        if one.seconds >= PREPARED_WARNING
    ]
    title = f"no prepared transaction is older than {PREPARED_WARNING:g} s"
    return findings_or_ok("prepared", findings, title)
