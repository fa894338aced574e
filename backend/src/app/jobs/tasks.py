"""What workers know how to do. A job says which rows it is about; everything else is in them."""

import asyncio

from procrastinate import App, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy

from app.jobs.job_manager import FencedJobManager
from app.repositories.jobs import HOUSEKEEPING, LOAD_IMPORT, QUEUE
from app.services.housekeeping import HousekeepingService
from app.services.import_runner import ImportRunner

# Minute 17 of each hour: when others' jobs do not all start, too.
_HOURLY = "17 * * * *"
# How long it can be seen which jobs there were.
_KEPT_HOURS = 24
_POOL_SIZE = 4
# A worker that stops while the database is away waits so long, twice: once to give its job back,
# once to say that it is gone.
_POOL_PATIENCE = 3


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
    """The tasks, bound to a queue and to the services that do the work."""
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
