"""Queries about the job queue and the imports."""

from sqlalchemy import ARRAY, Text, bindparam, text

from app.doctor.catalog_rows import OpenImport, Queue, Worker
from app.doctor.connection import DiagnosticConnection
from app.repositories.jobs import LOAD_IMPORT

_MOST = 20
_TABLES = ["procrastinate_jobs", "procrastinate_workers", "procrastinate_events", "imports"]

_PRESENT = text(
    "SELECT name FROM unnest(:names) AS name WHERE to_regclass(name) IS NOT NULL"
).bindparams(bindparam("names", type_=ARRAY(Text)))

# Count at most this many jobs, to limit the query's time.
_COUNTED = 10_000

_QUEUE = text(
    f"""
    WITH counted AS (
        SELECT status::text AS status, scheduled_at FROM procrastinate_jobs
        WHERE status IN ('todo', 'doing', 'failed') LIMIT {_COUNTED}
    ), oldest AS (
        SELECT job.id, job.task_name, job.scheduled_at FROM procrastinate_jobs AS job
        WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now() ORDER BY id LIMIT 1
    )
    SELECT
        count(*) FILTER (WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()) AS due,
        count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()) AS later,
        count(*) FILTER (WHERE status = 'doing') AS doing,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        (
            SELECT extract(epoch FROM now() - greatest(oldest.scheduled_at, max(at)))::float8
            FROM oldest LEFT JOIN procrastinate_events ON job_id = oldest.id
            GROUP BY oldest.scheduled_at
        ) AS oldest_seconds,
        (SELECT task_name::text FROM oldest) AS oldest_task
    FROM counted
    """  # noqa: S608 - a constant
)

_WORKERS = text(
    f"""
    SELECT id, extract(epoch FROM now() - last_heartbeat)::float8 AS silent_seconds,
        (
            SELECT count(*) FROM procrastinate_jobs
            WHERE worker_id = procrastinate_workers.id AND status = 'doing'
        ) AS jobs
    FROM procrastinate_workers ORDER BY last_heartbeat DESC LIMIT {_MOST}
    """  # noqa: S608 - a constant
)

# Read retry_at through JSON, because older schemas lack this column.
_IMPORTS = text(
    f"""
    SELECT imports.id, state, attempt, failures, left(error, 300) AS error,
        extract(epoch FROM (to_jsonb(imports)->>'retry_at')::timestamptz - now())::float8
            AS retry_in_seconds,
        extract(epoch FROM now() - coalesce(started_at, created_at))::float8 AS seconds,
        job.status AS job, job.silent_seconds
    FROM imports LEFT JOIN LATERAL (
        SELECT status::text AS status,
            extract(epoch FROM now() - last_heartbeat)::float8 AS silent_seconds
        FROM procrastinate_jobs LEFT JOIN procrastinate_workers ON procrastinate_workers.id = worker_id
        WHERE task_name = :task AND status IN ('todo', 'doing')
            AND args = jsonb_build_object('import_id', imports.id)
        ORDER BY status DESC LIMIT 1
    ) AS job ON true
    WHERE state IN ('queued', 'running') ORDER BY imports.id LIMIT {_MOST}
    """  # noqa: E501, S608 - a constant
)


class WorkDiagnostics:
    """Queries about background jobs, their workers and imports."""

    def __init__(self, examination: DiagnosticConnection) -> None:
        self._examination = examination

    async def exists(self) -> bool:
        """Return whether the tables of jobs and imports exist. Older schemas lack some of them."""
        rows = await self._examination.rows(_PRESENT, {"names": _TABLES})
        return len(rows) == len(_TABLES)

    async def queue(self) -> Queue:
        """Return the queue's job counts by state, with its oldest due job."""
        (row,) = await self._examination.rows(_QUEUE)
        return Queue(**row)

    async def workers(self) -> list[Worker]:
        """Return the registered workers, latest heartbeat first."""
        return [Worker(**row) for row in await self._examination.rows(_WORKERS)]

    async def open_imports(self) -> list[OpenImport]:
        """Return the unfinished imports, oldest first."""
        rows = await self._examination.rows(_IMPORTS, {"task": LOAD_IMPORT})
        return [OpenImport(**row) for row in rows]
