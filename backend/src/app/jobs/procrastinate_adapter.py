"""The workers' tasks, and all code for procrastinate except the SQL in repositories/jobs.py.

A job contains only the ids of rows. Those rows store the job's progress.
docs/adr/0011-background-jobs.md lists the undocumented interfaces of procrastinate used here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg_pool import PoolTimeout

from app.core.errors import AppError
from app.repositories.jobs import (
    FINISH_OWN,
    GIVE_BACK_OWN,
    HOUSEKEEPING,
    LOAD_IMPORT,
    MISSED_HEARTBEATS,
    QUEUE,
)
from app.services.housekeeping import HousekeepingService
from app.services.import_runner import ImportRunner

logger = logging.getLogger(__name__)

# Exceptions that mean that the job queue is unavailable.
QUEUE_ERRORS = (ConnectorException, psycopg.Error, OSError)
# Maximum number of jobs that a worker runs concurrently. The load lock serializes loads.
CONCURRENCY = 4

# Run housekeeping at minute 17 of each hour, because many other programs' jobs start at minute 0.
_HOURLY = "17 * * * *"
# Finished jobs are deleted after this many hours.
_KEPT_HOURS = 24
_POOL_SIZE = 4
# Seconds to wait for a connection. A worker that stops while the database is unavailable waits
# twice: once to requeue a job and once to unregister the worker.
_POOL_PATIENCE = 3
_TRIES = 2
# Seconds to wait for a cancelled task to end before it is cancelled again.
_CANCEL_SECONDS = 1.0


class FencedJobManager(JobManager):
    """A job manager that lets a worker finish or requeue only jobs that the worker still holds.

    procrastinate's own job manager checks only the job's id, so a worker that was wrongly
    considered dead could finish or requeue a job that another worker is running.
    """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001 - procrastinate's signature
        """Store the job's final state, unless another worker has taken the job over."""
        await self._write(FINISH_OWN, job, status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Requeue the job to start at `retry_at`, unless another worker has taken the job over.

        Raises:
            NotImplementedError: the call would change the priority, the queue or the lock.
        """
        if (priority, queue, lock) != (None, None, None):
            raise NotImplementedError
        await self._write(GIVE_BACK_OWN, job, retry_at=retry_at or datetime.now(UTC))

    async def _write(self, statement: LiteralString, job: Job, **arguments: Any) -> None:
        for left in reversed(range(_TRIES)):
            try:
                done = await self.connector.execute_query_all_async(
                    statement, job_id=job.id, attempts=job.attempts, **arguments
                )
            except ConnectorException as error:
                # The server may have closed the connection. Try again, because otherwise the job
                # stays marked as running while this worker lives. After the last try, or if the
                # pool has no connection, raise: the worker ends and other workers get its jobs.
                if not left or isinstance(error.__cause__, PoolTimeout):
                    raise
            else:
                if not done:
                    logger.info("job %s has been taken over", job.id)
                return


class WhenStopped(BaseRetryStrategy):
    """A retry strategy that requeues a job only if the job's worker was stopped.

    Another worker can run the requeued job at once. A failed job is not requeued, because a job
    that waits for a retry would block all jobs with the same lock.
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:  # noqa: ARG002
        """Return an immediate retry after a cancellation, and None after any other exception."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        return None


def job_app(conninfo: str, runner: ImportRunner, housekeeping: HousekeepingService) -> App:
    """Create a procrastinate app whose tasks call `runner` and `housekeeping`."""
    # procrastinate logs each job twice. The import tables already contain the results.
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    app = App(
        connector=PsycopgConnector(
            conninfo=conninfo, min_size=1, max_size=_POOL_SIZE, timeout=_POOL_PATIENCE
        )
    )

    app.job_manager = FencedJobManager(app.connector)

    @app.task(name=LOAD_IMPORT, queue=QUEUE, retry=WhenStopped())
    async def load_import(import_id: int) -> None:
        await runner.run(import_id)

    @app.periodic(cron=_HOURLY)
    @app.task(name=HOUSEKEEPING, queue=QUEUE, queueing_lock=HOUSEKEEPING, pass_context=False)
    async def run_housekeeping(timestamp: int) -> None:  # noqa: ARG001 - required by procrastinate
        await housekeeping.run()
        await app.job_manager.delete_old_jobs(
            nb_hours=_KEPT_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
        )

    return app


async def run_jobs(app: App, runner: ImportRunner, heartbeat: float, grace_seconds: float) -> None:
    """Run jobs until this call is cancelled or the database becomes unavailable.

    If the database becomes unavailable, this function may return without an error.
    """
    # If the database is unavailable, this query fails at once with a clear error. Opening the
    # queue's pool would wait instead.
    await runner.requeue_orphaned()
    try:
        await app.open_async()
        async with _watched(app, runner, heartbeat):
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=CONCURRENCY,
                install_signal_handlers=False,
                shutdown_graceful_timeout=grace_seconds,
                fetch_job_polling_interval=heartbeat,
                update_heartbeat_interval=heartbeat,
                stalled_worker_timeout=heartbeat * MISSED_HEARTBEATS,
            )
    finally:
        # Close the app even if opening failed, because the app's pool would keep trying to connect.
        await app.close_async()


@asynccontextmanager
async def _watched(app: App, runner: ImportRunner, heartbeat: float) -> AsyncIterator[None]:
    """Requeue the jobs of dead workers until the `async with` block ends."""
    watching = asyncio.create_task(_watch(app, runner, heartbeat))
    try:
        yield
    finally:
        # Cancel repeatedly, because the driver can swallow a cancellation when a connection breaks.
        while not watching.done():
            watching.cancel()
            await asyncio.wait([watching], timeout=_CANCEL_SECONDS)


async def _watch(app: App, runner: ImportRunner, heartbeat: float) -> None:
    silence = heartbeat * MISSED_HEARTBEATS
    while True:
        try:
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=silence):
                logger.warning("job %s is requeued: its worker sends no heartbeat", job.id)
                await app.job_manager.retry_job(job)
            await runner.requeue_orphaned()
        except (ConnectorException, AppError) as error:
            # Another worker requeued the jobs first, or the database is unavailable.
            logger.debug("no job was requeued: %s", error)
        await asyncio.sleep(heartbeat)
