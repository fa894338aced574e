"""The tasks of workers, and all that knows procrastinate but the SQL in repositories/jobs.py.

A job says which rows it is about. Everything else is in them. docs/adr/0011-background-jobs.md
lists what is used beyond the library's documentation.
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

# How a queue says that it is not available.
QUEUE_ERRORS = (ConnectorException, psycopg.Error, OSError)
# Jobs at a time; of loads there is one at a time in a database anyway.
CONCURRENCY = 4

# Minute 17 of each hour: when others' jobs do not all start, too.
_HOURLY = "17 * * * *"
# How long it can be seen which jobs there were.
_KEPT_HOURS = 24
_POOL_SIZE = 4
# A worker that stops while the database is away waits so long, twice: once to give its job back,
# once to say that it is gone.
_POOL_PATIENCE = 3
_TRIES = 2
# How soon a task that has not ended is cancelled once more.
_CANCEL_SECONDS = 1.0


class FencedJobManager(JobManager):
    """Ends a job, or gives it back, only while it is still the worker's that took it.

    The library's own does so by the job's id alone: a worker that was taken for dead and is not
    would end, or give to a third one, what another one is working on.
    """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001 - the library's
        """Give the job its last state."""
        await self._write(FINISH_OWN, job, status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Leave the job to whoever takes it first, not before `retry_at`.

        Raises:
            NotImplementedError: it is to change otherwise, too.
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
                # The server may have ended the connection at this moment. Nobody would ever do it
                # again: the worker lives, so that the job seems to be worked on. When there is no
                # connection, the worker ends, and its jobs are given to others.
                if not left or isinstance(error.__cause__, PoolTimeout):
                    raise
            else:
                if not done:
                    logger.info("job %s has been taken over", job.id)
                return


class WhenStopped(BaseRetryStrategy):
    """At once, by another worker, when this one was stopped: the job keeps its place in the queue.

    Never after a failure: a job that waits for its next try would hold up those behind its lock.
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:  # noqa: ARG002
        """When to run a job that ended by `exception` once more."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        return None


def job_app(conninfo: str, runner: ImportRunner, housekeeping: HousekeepingService) -> App:
    """Return the tasks, bound to a queue and to the services that do the work."""
    # The library tells of each job twice; what matters of them is in their own tables.
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
    async def run_housekeeping(timestamp: int) -> None:  # noqa: ARG001 - which hour is all the same
        await housekeeping.run()
        await app.job_manager.delete_old_jobs(
            nb_hours=_KEPT_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
        )

    return app


async def run_jobs(app: App, runner: ImportRunner, heartbeat: float, grace_seconds: float) -> None:
    """Run jobs until cancelled or until the database goes away, at times without an error."""
    # Says at once, and best, what is wrong with the database; the queue's own pool waits for it.
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
        # After an attempt to open it that failed, too: it would go on trying.
        await app.close_async()


@asynccontextmanager
async def _watched(app: App, runner: ImportRunner, heartbeat: float) -> AsyncIterator[None]:
    """Inside the block, what dead workers have left is given to living ones."""
    watching = asyncio.create_task(_watch(app, runner, heartbeat))
    try:
        yield
    finally:
        # More than once: a connection that breaks at this moment takes it for its own.
        while not watching.done():
            watching.cancel()
            await asyncio.wait([watching], timeout=_CANCEL_SECONDS)


async def _watch(app: App, runner: ImportRunner, heartbeat: float) -> None:
    silence = heartbeat * MISSED_HEARTBEATS
    while True:
        try:
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=silence):
                logger.warning("job %s goes on: its worker is silent", job.id)
                await app.job_manager.retry_job(job)
            await runner.requeue_orphaned()
        except (ConnectorException, AppError) as error:
            # Another worker was faster, or the database is away.
            logger.debug("nothing was given back: %s", error)
        await asyncio.sleep(heartbeat)
