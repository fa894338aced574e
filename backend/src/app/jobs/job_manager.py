"""Ending jobs, by who has them."""

import logging
from datetime import UTC, datetime
from typing import Any, LiteralString

from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg_pool import PoolTimeout

from app.repositories.jobs import FINISH_OWN, GIVE_BACK_OWN

logger = logging.getLogger(__name__)

_TRIES = 2


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
