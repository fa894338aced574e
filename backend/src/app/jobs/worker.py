"""The process that works on background jobs."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
from procrastinate import App
from procrastinate.exceptions import ConnectorException

from app.core.config import Settings
from app.core.errors import AppError
from app.db.provisioning import provision_database_async
from app.db.session import Database
from app.jobs.conninfo import conninfo
from app.jobs.shutdown_signals import GRACE_SECONDS
from app.jobs.tasks import job_app
from app.repositories.jobs import MISSED_HEARTBEATS, QUEUE
from app.services.housekeeping import HousekeepingService
from app.services.import_runner import ImportRunner
from app.services.loading import CHUNK_ROWS
from app.storage.uploads import upload_store

logger = logging.getLogger(__name__)

# How soon a task that has not ended is cancelled once more.
_CANCEL_SECONDS = 1.0
# Jobs at a time; of loads there is one at a time in a database anyway.
CONCURRENCY = 4


@dataclass(frozen=True)
class WorkerOptions:
    """Limits of a worker that no operator sets.

    A job under way may take `grace_seconds` after the signal to stop; then it is given back. The
    worker waits `pause_seconds` for the database before the next try. `niceness` is what the
    process adds to its own, so that requests come first on a busy processor. `chunk_rows` is how
    many rows of a file are stored at a time.
    """

    grace_seconds: float = GRACE_SECONDS
    pause_seconds: float = 1.0
    niceness: int = 5
    chunk_rows: int = CHUNK_ROWS


DEFAULTS = WorkerOptions()


async def work(settings: Settings, stop: asyncio.Event, options: WorkerOptions = DEFAULTS) -> None:
    """Work on jobs until told to stop; when the database is away, wait for it.

    Raises:
        ConfigurationError: the uploads cannot be stored as set.
    """
    # The library tells of each job twice; what matters of them is in their own tables.
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    uploads = upload_store(settings)
    async with provision_database_async(settings) as found:
        urls = found.past_pooler()
        # Now, because an embedded PostgreSQL that was started here is everybody's.
        os.nice(options.niceness)
        async with Database(urls, settings.with_command_timeouts()) as database:
            runner = ImportRunner(database, uploads, chunk_rows=options.chunk_rows)
            housekeeping = HousekeepingService(database, uploads, settings)
            queue = conninfo(urls.primary, "hotel-deals worker")
            logger.info("working on background jobs")
            while not stop.is_set():
                app = job_app(queue, runner, housekeeping)
                await _work_while_connected(app, runner, settings.worker_heartbeat, stop, options)


async def _work_while_connected(
    app: App,
    runner: ImportRunner,
    heartbeat: float,
    stop: asyncio.Event,
    options: WorkerOptions,
) -> None:
    """Until told to stop or the database goes away.

    The library's worker then ends, sometimes without an error, and never begins anew by itself.
    """
    working = asyncio.create_task(_work(app, runner, heartbeat, options))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    working.cancel()
    try:
        with suppress(asyncio.CancelledError):
            await working
    except AppError as error:
        logger.warning("waiting for the database: %s", error)
    except (ConnectorException, psycopg.Error, OSError) as error:
        logger.warning("the job queue is not available: %s", error.__cause__ or error)
    if not stop.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(options.pause_seconds):
                await stop.wait()


async def _work(app: App, runner: ImportRunner, heartbeat: float, options: WorkerOptions) -> None:
    # Says at once, and best, what is wrong with the database; the queue's own pool waits for it.
    await runner.requeue_orphaned()
    try:
        await app.open_async()
        async with _watched(app, runner, heartbeat):
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=CONCURRENCY,
                install_signal_handlers=False,
                shutdown_graceful_timeout=options.grace_seconds,
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
