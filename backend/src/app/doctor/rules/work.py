"""Background work: the queue, who works on it, and imports that do not go on."""

from collections.abc import Sequence

from app.doctor.catalog_rows import OpenImport, Queue, Worker
from app.doctor.findings import Facts, Finding, Severity, duration, findings_or_ok
from app.doctor.rules.sessions import rounded

# A worker begins a job within milliseconds; behind a large import others wait, but not like this.
WAITING_WARNING, WAITING_PROBLEM = 60.0, 3600.0
# What one import may take, and then some: two million rows are some minutes' work.
IMPORT_WARNING = 3600.0
# How often it may go wrong for a reason that passes by itself.
FAILURES = 3


def workers(found: Sequence[Worker], queue: Queue, silence: float) -> list[Finding]:
    """Whether anybody works; who is silent for longer than `silence` is taken for dead."""
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
        advice = "imports are taken in and not loaded, and nothing is tidied up"
        findings.append(Finding("workers", severity, title, evidence, advice, "deals worker"))
    if alive:
        title = f"{len(alive)} workers are alive"
        findings.append(Finding("workers", "fine", title, evidence))
    findings += [
        Finding(
            "workers",
            "warning",
            f"worker {worker.id} is dead, or hangs: silent for {duration(worker.silent_seconds)}",
            {
                "worker": worker.id,
                "silent_seconds": rounded(worker.silent_seconds),
                "jobs": worker.jobs,
            },
            "a living worker takes over what it has; look at its log, and start it again",
            "deals worker",
        )
        for worker in dead
    ]
    return findings_or_ok("workers", findings, "")


def jobs(queue: Queue) -> list[Finding]:
    """How many jobs wait, for how long, and how many have failed."""
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
        # One import at a time: behind a large one others wait, and that is as it is to be.
        stuck = oldest >= WAITING_PROBLEM or not queue.doing
        title = f"{queue.due} jobs wait, the oldest ({queue.oldest_task}) for {duration(oldest)}"
        advice = "imports are loaded one at a time; otherwise there are too few workers"
        severity: Severity = "problem" if stuck else "warning"
        findings.append(Finding("jobs", severity, title, evidence, advice, "deals worker"))
    if queue.failed:
        title = f"{queue.failed} jobs have failed within a day"
        advice = "the workers' log says why (level error)"
        findings.append(Finding("jobs", "warning", title, evidence, advice))
    if findings:
        return findings
    return [Finding("jobs", "fine", f"{queue.due} jobs wait, {queue.doing} run", evidence)]


def imports(found: Sequence[OpenImport], silence: float) -> list[Finding]:
    """Imports that nobody works on, that fail again and again, or that take too long."""
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
    # A worker that was killed leaves its job; one that was removed since has no heartbeat at all.
    lost = one.job == "doing" and (one.silent_seconds is None or one.silent_seconds >= silence)
    due = one.retry_in_seconds is None or one.retry_in_seconds < -silence
    orphaned = one.job is None and due and one.seconds >= silence
    if orphaned or lost:
        what = "its worker is dead" if lost else "it has no job"
        title = f"import {one.id} is {one.state}, and nobody works on it: {what}"
        advice = "a worker takes it up again where it stopped"
        return Finding("imports", "problem", title, evidence, advice, "deals worker")
    if one.failures >= FAILURES:
        title = f"import {one.id} has failed {one.failures} times and is tried again"
        return Finding("imports", "warning", title, evidence, one.error or "", cancel)
    if one.state == "running" and one.seconds >= IMPORT_WARNING:
        title = f"import {one.id} has been running for {duration(one.seconds)}"
        advice = "look whether its rows_read still grow (GET /imports/ID)"
        return Finding("imports", "warning", title, evidence, advice, cancel)
    return None
