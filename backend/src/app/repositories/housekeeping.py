"""Removal of expired data in batches. Small batches hold their row locks only briefly."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import ARRAY, Interval, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

_EXPIRED_UPLOADS = text(
    """
    SELECT object_name FROM imports
    WHERE object_name IS NOT NULL AND finished_at < now() - :age
    ORDER BY finished_at LIMIT :batch
    """
).bindparams(bindparam("age", type_=Interval))

_UPLOADS_REMOVED = text(
    "UPDATE imports SET object_name = NULL WHERE object_name = ANY(:names)"
).bindparams(bindparam("names", type_=ARRAY(Text)))

_KNOWN_UPLOADS = text("SELECT object_name FROM imports WHERE object_name = ANY(:names)").bindparams(
    bindparam("names", type_=ARRAY(Text))
)

_REMOVE_REJECTS = text(
    """
    UPDATE import_chunks SET rejects = NULL
    WHERE (import_id, number) IN (
        SELECT import_id, number FROM import_chunks JOIN imports ON imports.id = import_id
        WHERE rejects IS NOT NULL AND finished_at < now() - :age
        LIMIT :batch FOR UPDATE OF import_chunks SKIP LOCKED
    )
    RETURNING 1
    """
).bindparams(bindparam("age", type_=Interval))

_REMOVE_KEYS = text(
    """
    DELETE FROM idempotency_keys WHERE (route, actor, key) IN (
        SELECT route, actor, key FROM idempotency_keys
        WHERE created_at <= now() - interval '24 hours'
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
    """
)


class HousekeepingRepository:
    """Statements that remove expired data in one transaction. Each call handles one batch."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def expired_uploads(self, age: timedelta, batch: int) -> Sequence[str]:
        """Return up to `batch` object names of uploads whose imports ended over `age` ago."""
        parameters = {"age": age, "batch": batch}
        return (await self._session.scalars(_EXPIRED_UPLOADS, parameters)).all()

    async def uploads_removed(self, names: Collection[str]) -> None:
        """Record that these uploads have been deleted from the object storage."""
        await self._session.execute(_UPLOADS_REMOVED, {"names": list(names)})

    async def known_uploads(self, names: Collection[str]) -> set[str]:
        """Return the object names in `names` that belong to an import."""
        return set(await self._session.scalars(_KNOWN_UPLOADS, {"names": list(names)}))

    async def remove_rejects(self, age: timedelta, batch: int) -> int:
        """Delete rejects of imports that ended over `age` ago. Return the affected chunk count."""
        found = await self._session.execute(_REMOVE_REJECTS, {"age": age, "batch": batch})
        return len(found.all())

    async def remove_idempotency_keys(self, batch: int) -> int:
        """Delete idempotency keys older than 24 hours, and return how many were deleted."""
        return len((await self._session.execute(_REMOVE_KEYS, {"batch": batch})).all())
