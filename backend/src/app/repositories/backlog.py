from datetime import timedelta

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.jobs import LOAD_IMPORT, QUEUE
from app.schemas.backlog import Backlog

# One round trip. Finished jobs are removed every hour; chunks are of thousands of rows.
_BACKLOG = text(
    """
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
            WHERE state = 'queued' AND retry_at <= now() AND NOT EXISTS (
                SELECT FROM procrastinate_jobs
                WHERE task_name = :task AND status IN ('todo', 'doing')
                    AND args = jsonb_build_object('import_id', imports.id)
            )
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
    """
).bindparams(bindparam("silence", type_=Interval), queue=QUEUE, task=LOAD_IMPORT)


class BacklogRepository:
    """Background work in numbers, by one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self, silence: timedelta) -> Backlog:
        """Return the numbers of this moment; a worker that has been silent for longer is none."""
        return Backlog(*(await self._session.execute(_BACKLOG, {"silence": silence})).one())
