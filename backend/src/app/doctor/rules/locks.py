"""Rules for lock waits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from app.doctor.catalog_rows import Session, Waiting
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok
from app.doctor.rules.sessions import described, rounded

# The shortest reported wait in seconds. Shorter waits are normal.
WAIT_WARNING = 1.0
# Loads and migrations take turns by locks of this type, so long waits for such locks are normal.
_TURNS = "advisory"
# pg_blocking_pids() returns this process id for a prepared transaction.
_PREPARED = 0


def waits(
    found: Sequence[Waiting], sessions: Mapping[int, Session], lock_timeout: float
) -> list[Finding]:
    """Report each session that blocks others and is not blocked itself.

    Requests stop waiting after `lock_timeout`, so their short waits can hide a lasting blocker.
    Therefore a blocker is a problem if it is idle or its transaction is older than `lock_timeout`.
    """
    queues = _queues(found)
    findings = []
    for pid, queue in queues.items():
        longest = max(waiting.seconds for waiting in queue)
        if longest < WAIT_WARNING:
            continue
        blocker = sessions.get(pid)
        first = max(queue, key=lambda waiting: waiting.seconds)
        sessions_blocked = f"{len(queue)} session{'s' if len(queue) > 1 else ''}"
        title = (
            f"{_who(pid, blocker)} blocks {sessions_blocked}, the longest for {duration(longest)}"
        )
        evidence: Facts = {
            **(described(blocker) if blocker else {"pid": pid}),
            "waiting": len(queue),
            "waiting_pids": ", ".join(str(waiting.pid) for waiting in queue[:10]),
            "longest_seconds": rounded(longest),
            "lock": f"{first.mode} on {first.relation or first.lock}",
            "waiting_query": sessions[first.pid].query if first.pid in sessions else None,
        }
        severity: Severity = _severity(blocker, queue, longest, lock_timeout)
        remedy = f"deals doctor --kill {pid}" if pid != _PREPARED else "TABLE pg_prepared_xacts;"
        findings.append(Finding("locks", severity, title, evidence, _advice(blocker), remedy))
    title = f"no session has waited for a lock for {WAIT_WARNING:g} s or more"
    return findings_or_ok("locks", findings, title)


def _queues(found: Sequence[Waiting]) -> dict[int, list[Waiting]]:
    """Group waiting sessions by their root blockers: sessions that are not blocked themselves."""
    blockers = {waiting.pid: waiting.blockers for waiting in found}
    queues: dict[int, list[Waiting]] = defaultdict(list)
    for waiting in found:
        for root in _roots(waiting.pid, blockers):
            queues[root].append(waiting)
    return queues


def _roots(pid: int, blockers: Mapping[int, Sequence[int]]) -> set[int]:
    """Follow a session's chain of blockers, and return those that are not blocked themselves.

    A deadlock has no such blocker, but PostgreSQL ends deadlocks after a second by default.
    """
    roots, seen, left = set(), {pid}, list(blockers[pid])
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        if blockers.get(one):
            left.extend(blockers[one])
        else:
            roots.add(one)
    return roots


def _who(pid: int, blocker: Session | None) -> str:
    if pid == _PREPARED:
        return "a prepared transaction"
    if blocker is None:
        return f"pid {pid}"
    state = f", {blocker.state}" if blocker.state else ""
    return f"pid {pid} ({blocker.application or 'unnamed'}, user {blocker.user}{state})"


def _severity(
    blocker: Session | None, queue: Sequence[Waiting], longest: float, lock_timeout: float
) -> Severity:
    if all(waiting.lock == _TURNS for waiting in queue):
        return "warning"
    idle = blocker is not None and (blocker.state or "").startswith("idle in transaction")
    long = blocker is not None and (blocker.transaction_seconds or 0.0) >= lock_timeout
    return "problem" if idle or long or longest >= lock_timeout else "warning"


def _advice(blocker: Session | None) -> str:
    if blocker is not None and (blocker.state or "").startswith("idle in transaction"):
        return "The session is idle. End it, and make its client commit before it pauses."
    return "The session may end soon. Ending it rolls back its transaction."
