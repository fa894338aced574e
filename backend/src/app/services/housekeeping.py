import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from app.core.config import Settings
from app.core.errors import AppError
from app.db.session import Database
from app.repositories.housekeeping import HousekeepingRepository
from app.storage.uploads import UploadStore

logger = logging.getLogger(__name__)

# Maximum number of rows or files per batch, and of batches per run for each kind of data. The next
# run deletes the rest.
BATCH = 500
MOST_BATCHES = 100
# No upload takes this long. An older file without an import was therefore left by an interrupted
# upload.
ORPHAN_AGE = timedelta(days=1)


class HousekeepingService:
    """A service that deletes expired data, up to a limit for each run."""

    def __init__(self, database: Database, uploads: UploadStore, settings: Settings) -> None:
        self._uow = database.uow
        self._uploads = uploads
        self._upload_age = timedelta(days=settings.upload_retention_days)
        self._rejects_age = timedelta(days=settings.rejects_retention_days)

    async def run(self) -> dict[str, int]:
        """Delete expired data. Return the deleted count for each kind of data.

        If deleting one kind fails, the other kinds are still deleted.
        """
        kinds: dict[str, Callable[[], Awaitable[int]]] = {
            "uploads": lambda: _in_batches(self._remove_uploads),
            "orphans": self._remove_orphans,
            "rejects": lambda: _in_batches(self._remove_rejects),
            "idempotency keys": lambda: _in_batches(self._remove_idempotency_keys),
        }
        removed = {}
        for kind, remove in kinds.items():
            try:
                removed[kind] = await remove()
            except AppError as error:
                logger.warning("expired %s cannot be removed: %s", kind, error)
        if any(removed.values()):
            logger.info("removed %s", ", ".join(f"{n} {kind}" for kind, n in removed.items() if n))
        return removed

    async def _remove_uploads(self) -> int:
        async with self._uow.begin() as session:
            names = await HousekeepingRepository(session).expired_uploads(self._upload_age, BATCH)
        for name in names:
            await self._uploads.remove(name)
        # Update the database only after removing the files. If this run is interrupted in between,
        # the next run repeats the removal.
        async with self._uow.begin() as session:
            await HousekeepingRepository(session).uploads_removed(names)
        return len(names)

    async def _remove_orphans(self) -> int:
        """Remove old stored files that belong to no import, and return their count."""
        old = await self._uploads.older_than(datetime.now(UTC) - ORPHAN_AGE, BATCH * MOST_BATCHES)
        removed = 0
        for start in range(0, len(old), BATCH):
            names = old[start : start + BATCH]
            async with self._uow.begin() as session:
                known = await HousekeepingRepository(session).known_uploads(names)
            for name in names:
                if name not in known:
                    await self._uploads.remove(name)
                    removed += 1
        return removed

    async def _remove_rejects(self) -> int:
        return await self._uow.run(
            lambda session: HousekeepingRepository(session).remove_rejects(self._rejects_age, BATCH)
        )

    async def _remove_idempotency_keys(self) -> int:
        return await self._uow.run(
            lambda session: HousekeepingRepository(session).remove_idempotency_keys(BATCH)
        )


async def _in_batches(remove: Callable[[], Awaitable[int]]) -> int:
    removed = 0
    for _ in range(MOST_BATCHES):
        count = await remove()
        removed += count
        if count < BATCH:
            break
    return removed
