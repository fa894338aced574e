import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

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


class JobQueue:
    """Asks for background jobs, in the transaction of what needs them (docs/adr/0011)."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def load_import(self, import_id: int) -> None:
        """Have a worker load an upload, when no other one is being loaded."""
        await self._defer(LOAD_IMPORT, {"import_id": import_id}, lock=LOADING_LOCK)

    async def _defer(self, task: str, arguments: Mapping[str, Any], *, lock: str | None) -> None:
        """Have a worker run `task`; never at the same time as another job with the `lock`."""
        await self._session.execute(
            _DEFER,
            {"queue": QUEUE, "task": task, "lock": lock, "arguments": json.dumps(arguments)},
        )
