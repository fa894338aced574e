import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from app.db.session import WriteSession

QUEUE = "deals"
# The tasks that requests ask for, by the names that workers know them under.
LOAD_IMPORT = "load_import"

# Two loads of one database would only wait for each other.
LOADING_LOCK = "loading"

_DEFER = text(
    """
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        ROW(:queue, :task, 0, :lock, NULL, cast(:arguments AS jsonb), NULL)
    ]::procrastinate_job_to_defer_v1[])
    """
)


class JobQueue:
    """Asks for background jobs, in the transaction of what needs them (docs/adr/0011)."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def defer(self, task: str, arguments: Mapping[str, Any], *, lock: str | None) -> None:
        """Have a worker run `task`; never at the same time as another job with the `lock`."""
        await self._session.execute(
            _DEFER,
            {"queue": QUEUE, "task": task, "lock": lock, "arguments": json.dumps(arguments)},
        )
