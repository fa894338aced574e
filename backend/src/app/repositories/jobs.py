"""The SQL on procrastinate's tables and functions, except for that of `deals doctor`.

docs/adr/0011-background-jobs.md says what it is for and which test notices a change of theirs.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Interval, Row, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.schemas.backlog import Backlog

QUEUE = "deals"
# The tasks that requests ask for, by the names that workers know them under.
LOAD_IMPORT = "load_import"
# Stored with jobs, and known to the workers of other releases: it stays as it was.
HOUSEKEEPING = "keep_house"

# A worker that has said nothing for so many heartbeats is dead.
MISSED_HEARTBEATS = 3

# Two loads of one database would only wait for each other.
LOADING_LOCK = "loading"

_DEFER = text(
    """
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        ROW(:queue, :task, 0, :lock, NULL, cast(:arguments AS jsonb), NULL)
    ]::procrastinate_job_to_defer_v1[])
    """
)

# For the queue's own driver. A job rises in `attempts` whenever it is given back, so that the
# number it was taken with says whether it is still the taker's. Who waits for its lock is told, as
# of a new job; otherwise he would know at his next look only.
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


# For a statement over `imports`.
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

# One round trip. Finished jobs are removed every hour; chunks are of thousands of rows.
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
            -- Due for another attempt; a worker asks for its job.
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
    """Asks for background jobs, in the transaction of what needs them (docs/adr/0011)."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def load_import(self, import_id: int) -> None:
        """Have a worker load an upload, when no other one is being loaded."""
        await self._defer(LOAD_IMPORT, {"import_id": import_id}, lock=LOADING_LOCK)

    async def find_orphaned_imports(self) -> Sequence[Row[Any]]:
        """Return `id` and `retried` of imports that are due and have no job.

        `retried` are those whose pause after a failed attempt is over; the others were lost. Two
        workers never get the same one at once.
        """
        return (await self._session.execute(_FIND_ORPHANED)).all()

    async def _defer(self, task: str, arguments: Mapping[str, Any], *, lock: str | None) -> None:
        """Have a worker run `task`; never at the same time as another job with the `lock`."""
        await self._session.execute(
            _DEFER,
            {"queue": QUEUE, "task": task, "lock": lock, "arguments": json.dumps(arguments)},
        )


class BacklogRepository:
    """Background work in numbers, by one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self, silence: timedelta) -> Backlog:
        """Return the numbers of this moment; a worker that has been silent for longer is none."""
        return Backlog(*(await self._session.execute(_BACKLOG, {"silence": silence})).one())
