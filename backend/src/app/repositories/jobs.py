"""SQL that uses the tables and functions of procrastinate, the job queue library.

`deals doctor` has separate SQL for procrastinate. docs/adr/0011-background-jobs.md explains the
design, and names the test that fails if the library's schema changes.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Interval, Row, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.schemas.backlog import Backlog

QUEUE = "deals"
# Workers register their tasks under these names.
LOAD_IMPORT = "load_import"
# This name must not change, because stored jobs and workers of other releases use it.
HOUSEKEEPING = "keep_house"

# A worker is considered dead after it misses this many heartbeats.
MISSED_HEARTBEATS = 3

# The lock of all import jobs. Workers run jobs with the same lock one at a time, because concurrent
# loads into one database would only wait for each other.
LOADING_LOCK = "loading"

_DEFER = text(
    """
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        ROW(:queue, :task, 0, :lock, NULL, cast(:arguments AS jsonb), NULL)
    ]::procrastinate_job_to_defer_v1[])
    """
)

# The statements below run on procrastinate's driver. Each requeue of a job increments the job's
# `attempts`. A worker owns a job while `attempts` has the value from the worker's claim (fencing).
# The notification wakes workers, so that a job waiting for the same lock starts before the next
# poll.
_OWN = """
WITH own AS MATERIALIZED (
    SELECT id, queue_name FROM procrastinate_jobs
    WHERE id = %(job_id)s AND status = 'doing' AND attempts = %(attempts)s FOR UPDATE
)
"""
_TELL = """
    pg_notify(
        'procrastinate_queue_v1#' || queue_name,
        json_build_object('type', 'job_inserted', 'job_id', id)::text
    )
"""
FINISH_OWN = f"""
{_OWN}
SELECT procrastinate_finish_job_v1(id, %(status)s, %(delete_job)s), {_TELL} FROM own
"""  # noqa: S608 - of constants
GIVE_BACK_OWN = f"""
{_OWN}
SELECT procrastinate_retry_job_v2(id, %(retry_at)s, NULL, NULL, NULL), {_TELL} FROM own
"""  # noqa: S608 - of constants


# An SQL condition that is true if a row of `imports` has no waiting or running job.
_WITHOUT_JOB = """NOT EXISTS (
    SELECT FROM procrastinate_jobs
    WHERE task_name = :task AND status IN ('todo', 'doing')
        AND args = jsonb_build_object('import_id', imports.id)
)"""

_FIND_ORPHANED = text(
    f"""
    SELECT id, retry_at IS NOT NULL AS retried FROM imports
    WHERE state IN ('queued', 'running') AND coalesce(retry_at <= now(), true) AND {_WITHOUT_JOB}
    ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - of constants
).bindparams(task=LOAD_IMPORT)

# Counting is cheap, because the tables are small: housekeeping removes finished jobs every hour,
# and `import_chunks` has one row per several thousand loaded rows.
_BACKLOG = text(
    f"""
    SELECT
        jobs.waiting, jobs.running, jobs.failed, jobs.oldest_seconds, workers.alive,
        imports.inserted, imports.updated, imports.unchanged, imports.rejected
    FROM
        (SELECT
            count(*) FILTER (WHERE status = 'todo' AND due) AS waiting,
            count(*) FILTER (WHERE status = 'doing') AS running,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            coalesce(
                extract(epoch FROM now() - min(since) FILTER (WHERE status = 'todo' AND due)), 0
            )::double precision AS oldest_seconds
         FROM (
            SELECT jobs.status, coalesce(scheduled_at <= now(), true) AS due,
                coalesce(scheduled_at, (
                    SELECT max(at) FROM procrastinate_events AS events
                    WHERE events.job_id = jobs.id AND events.type = 'deferred'
                )) AS since
            FROM procrastinate_jobs AS jobs WHERE queue_name = :queue AND status <> 'succeeded'
            UNION ALL
            -- Imports that are due for a retry. A worker will queue their jobs.
            SELECT 'todo', true, retry_at FROM imports
            WHERE state = 'queued' AND retry_at <= now() AND {_WITHOUT_JOB}
         ) AS jobs
        ) AS jobs,
        (SELECT count(*) AS alive FROM procrastinate_workers
         WHERE last_heartbeat > now() - :silence) AS workers,
        (SELECT
            coalesce(sum(inserted), 0)::bigint AS inserted,
            coalesce(sum(updated), 0)::bigint AS updated,
            coalesce(sum(unchanged), 0)::bigint AS unchanged,
            coalesce(sum(rejected), 0)::bigint AS rejected
         FROM import_chunks JOIN imports ON imports.id = import_id WHERE NOT dry_run
        ) AS imports
    """  # noqa: S608 - of constants
).bindparams(bindparam("silence", type_=Interval), queue=QUEUE, task=LOAD_IMPORT)


class JobQueue:
    """A queue of background jobs. A job is queued in the caller's transaction (docs/adr/0011)."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def load_import(self, import_id: int) -> None:
        """Queue a job that loads an import. Workers run such jobs one at a time."""
        await self._defer(LOAD_IMPORT, {"import_id": import_id}, lock=LOADING_LOCK)

    async def find_orphaned_imports(self) -> Sequence[Row[Any]]:
        """Return `id` and `retried` of unfinished imports that have no job but should have one.

        `retried` is true if the retry time of a failed attempt has come. It is false if the job was
        lost. The rows are locked, so two workers never get the same import.
        """
        return (await self._session.execute(_FIND_ORPHANED)).all()

    async def _defer(self, task: str, arguments: Mapping[str, Any], *, lock: str | None) -> None:
        """Queue a job that runs `task`. Jobs with the same `lock` run one at a time."""
        await self._session.execute(
            _DEFER,
            {"queue": QUEUE, "task": task, "lock": lock, "arguments": json.dumps(arguments)},
        )


class BacklogRepository:
    """Counts of background jobs, workers and imported rows in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self, silence: timedelta) -> Backlog:
        """Return the current counts. Ignore workers with no heartbeat for longer than `silence`."""
        return Backlog(*(await self._session.execute(_BACKLOG, {"silence": silence})).one())
