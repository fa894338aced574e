"""Who waits for whom."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from app.doctor.catalog_rows import Session, Waiting
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok
from app.doctor.rules.sessions import described, rounded

# Shorter waits are what locks are for.
WAIT_WARNING = 1.0
# A turn that is waited for, as loads and migrations do; how long is their business.
_TURNS = "advisory"
# By this number PostgreSQL names a transaction that was prepared and has no session.
_PREPARED = 0


def waits(
    found: Sequence[Waiting], sessions: Mapping[int, Session], lock_timeout: float
) -> list[Finding]:
    """One finding for each session at the root of a queue, with who waits behind it.

    The service's own requests give up after `lock_timeout`, so that their wait never looks long:
    whoever keeps one waiting and does nothing, or has been at it for longer, is the problem.
    """
    queues = _queues(found)
    findings = []
    for pid, queue in queues.items():
        longest = max(waiting.seconds for waiting in queue)
        if longest < WAIT_WARNING:
            continue
        blocker = sessions.get(pid)
        first = max(queue, key=lambda waiting: waiting.seconds)
        title = (
            f"{_who(pid, blocker)} keeps {len(queue)} waiting, the longest for {duration(longest)}"
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
    return findings_or_ok(
        "locks", findings, f"nobody waits for a lock for {WAIT_WARNING:g} s or more"
    )


def _queues(found: Sequence[Waiting]) -> dict[int, list[Waiting]]:
    """By who waits for nobody: whoever waits behind it, however many are between."""
    blockers = {waiting.pid: waiting.blockers for waiting in found}
    queues: dict[int, list[Waiting]] = defaultdict(list)
    for waiting in found:
        for root in _roots(waiting.pid, blockers):
            queues[root].append(waiting)
    return queues


def _roots(pid: int, blockers: Mapping[int, Sequence[int]]) -> set[int]:
    """A circle, which is a deadlock that PostgreSQL ends within a second, has none."""
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
        return "it does nothing: end it, and have whoever it is commit before it waits"
    return "it may be about to end; ending it undoes what it has done so far"
