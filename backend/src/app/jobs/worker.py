"""The worker that runs background jobs."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.core.config import Settings
from app.core.errors import AppError
from app.db.provisioning import provision_database_async
from app.db.session import Database
from app.jobs.conninfo import conninfo
from app.jobs.procrastinate_adapter import QUEUE_ERRORS, job_app, run_jobs
from app.jobs.shutdown_signals import GRACE_SECONDS
from app.services.housekeeping import HousekeepingService
from app.services.import_runner import ImportRunner
from app.services.loading import CHUNK_ROWS
from app.storage.uploads import upload_store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerOptions:
    """Internal options of a worker, which are not settings for operators.

    After the stop signal, a running job has `grace_seconds` to finish before it is requeued. While
    the database is unavailable, the worker retries every `pause_seconds`. The worker process
    increases its niceness by `niceness`, so that a busy CPU serves requests first. `chunk_rows` is
    the number of rows that an import stores per transaction.
    """

    grace_seconds: float = GRACE_SECONDS
    pause_seconds: float = 1.0
    niceness: int = 5
    chunk_rows: int = CHUNK_ROWS


DEFAULTS = WorkerOptions()


async def work(settings: Settings, stop: asyncio.Event, options: WorkerOptions = DEFAULTS) -> None:
    """Run jobs until `stop` is set, and reconnect whenever the database becomes unavailable.

    Raises:
        ConfigurationError: the settings of the upload store are invalid.
    """
    uploads = upload_store(settings)
    async with provision_database_async(settings) as found:
        urls = found.past_pooler()
        # Raise the niceness only after the embedded PostgreSQL has started. PostgreSQL would
        # otherwise inherit the niceness and be slow for other processes.
        os.nice(options.niceness)
        async with Database(urls, settings.with_command_timeouts()) as database:
            runner = ImportRunner(database, uploads, chunk_rows=options.chunk_rows)
            housekeeping = HousekeepingService(database, uploads, settings)
            queue = conninfo(urls.primary, "hotel-deals worker")
            logger.info("working on background jobs")
            while not stop.is_set():
                app = job_app(queue, runner, housekeeping)
                jobs = run_jobs(app, runner, settings.worker_heartbeat, options.grace_seconds)
                await _work_while_connected(jobs, stop, options.pause_seconds)


async def _work_while_connected(
    jobs: Coroutine[Any, Any, None], stop: asyncio.Event, pause_seconds: float
) -> None:
    """Run jobs until `stop` is set or the database becomes unavailable.

    If the database becomes unavailable, wait `pause_seconds`. The caller then starts new jobs.
    """
    working = asyncio.create_task(jobs)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    working.cancel()
    try:
        with suppress(asyncio.CancelledError):
            await working
    except AppError as error:
        logger.warning("waiting for the database: %s", error)
    except QUEUE_ERRORS as error:
        logger.warning("the job queue is not available: %s", error.__cause__ or error)
    if not stop.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds):
                await stop.wait()
