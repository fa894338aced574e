"""Rules for background work: the queue, its workers, and imports that make no progress."""

from collections.abc import Sequence

from app.doctor.catalog_rows import OpenImport, Queue, Worker
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok
from app.doctor.rules.sessions import rounded

# Waiting times of jobs in seconds. Jobs start at once, unless an import waits for another one.
WAITING_WARNING, WAITING_PROBLEM = 60.0, 3600.0
# The duration of an import in seconds. Two million rows take some minutes.
IMPORT_WARNING = 3600.0
# An import with this many temporary failures causes a warning.
FAILURES = 3


def workers(found: Sequence[Worker], queue: Queue, silence: float) -> list[Finding]:
    """Report workers without a heartbeat for `silence` seconds, and a lack of live workers."""
    alive = [worker for worker in found if worker.silent_seconds < silence]
    dead = [worker for worker in found if worker.silent_seconds >= silence]
    evidence: Facts = {
        "alive": len(alive),
        "dead": len(dead),
        "due": queue.due,
        "doing": queue.doing,
    }
    findings = []
    if not alive:
        waiting = queue.due + queue.doing
        title = f"no worker is alive, and {waiting} jobs wait" if waiting else "no worker is alive"
        severity: Severity = "problem" if waiting else "warning"
        advice = "Imports are accepted but not loaded, and expired data is kept. Start a worker:"
        findings.append(Finding("workers", severity, title, evidence, advice, "deals worker"))
    if alive:
        title = f"{len(alive)} workers are alive"
        findings.append(Finding("workers", "fine", title, evidence))
    findings += [
        Finding(
            "workers",
            "warning",
            f"worker {worker.id} is dead or hangs: "
            f"its last heartbeat was {duration(worker.silent_seconds)} ago",
            {
                "worker": worker.id,
                "silent_seconds": rounded(worker.silent_seconds),
                "jobs": worker.jobs,
            },
            "A live worker takes over its jobs. Check the log of the dead one, and start it again:",
            "deals worker",
        )
        for worker in dead
    ]
    return findings_or_ok("workers", findings, "")


def jobs(queue: Queue) -> list[Finding]:
    """Report due jobs that wait too long, and failed jobs."""
    oldest = queue.oldest_seconds or 0.0
    evidence: Facts = {
        "due": queue.due,
        "later": queue.later,
        "doing": queue.doing,
        "failed": queue.failed,
        "oldest_seconds": rounded(queue.oldest_seconds),
        "oldest_task": queue.oldest_task,
    }
    findings = []
    if queue.due and oldest >= WAITING_WARNING:
        # Workers load one import at a time, so a waiting import is normal.
        stuck = oldest >= WAITING_PROBLEM or not queue.doing
        title = f"{queue.due} jobs wait, the oldest ({queue.oldest_task}) for {duration(oldest)}"
        advice = "Imports wait for a running import. If none is running, start another worker:"
        severity: Severity = "problem" if stuck else "warning"
        findings.append(Finding("jobs", severity, title, evidence, advice, "deals worker"))
    if queue.failed:
        title = f"{queue.failed} jobs have failed within a day"
        advice = "Find the reasons in the workers' log (level error)."
        findings.append(Finding("jobs", "warning", title, evidence, advice))
    if findings:
        return findings
    return [Finding("jobs", "fine", f"{queue.due} jobs wait, {queue.doing} run", evidence)]


def imports(found: Sequence[OpenImport], silence: float) -> list[Finding]:
    """Report imports that no worker processes, that fail repeatedly, or that take too long."""
    findings = [finding for one in found if (finding := _import(one, silence)) is not None]
    return findings_or_ok("imports", findings, f"{len(found)} imports wait or run")


def _import(one: OpenImport, silence: float) -> Finding | None:
    evidence: Facts = {
        "import": one.id,
        "state": one.state,
        "attempt": one.attempt,
        "failures": one.failures,
        "error": one.error,
        "open_seconds": rounded(one.seconds),
        "retry_in_seconds": rounded(one.retry_in_seconds),
        "job": one.job,
        "worker_silent_seconds": rounded(one.silent_seconds),
    }
    cancel = f"curl -X DELETE localhost:8000/imports/{one.id}"
    # A killed worker's job stays `doing`. A worker that is not registered has no heartbeat.
    lost = one.job == "doing" and (one.silent_seconds is None or one.silent_seconds >= silence)
    due = one.retry_in_seconds is None or one.retry_in_seconds < -silence
    orphaned = one.job is None and due and one.seconds >= silence
    if orphaned or lost:
        what = "its worker is dead" if lost else "it has no job"
        title = f"import {one.id} is {one.state}, but no worker processes it: {what}"
        advice = "A live worker continues it where it stopped. If there is none, start one:"
        return Finding("imports", "problem", title, evidence, advice, "deals worker")
    if one.failures >= FAILURES:
        title = f"import {one.id} has failed {one.failures} times and will be retried"
        return Finding("imports", "warning", title, evidence, one.error or "", cancel)
    if one.state == "running" and one.seconds >= IMPORT_WARNING:
        title = f"import {one.id} has been running for {duration(one.seconds)}"
        advice = f"Check whether its rows_read grows (GET /imports/{one.id}). To cancel it:"
        return Finding("imports", "warning", title, evidence, advice, cancel)
    return None
