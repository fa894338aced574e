from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import ApiKey

# A key's `last_used_at` is updated at most once in this period.
LAST_USE_PRECISION = timedelta(minutes=1)


class ApiKeyRepository:
    """Queries that read and write API keys in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> Sequence[ApiKey]:
        """Return every key, including revoked ones, sorted by name."""
        return (await self._session.scalars(select(ApiKey).order_by(ApiKey.name))).all()

    async def valid(self, lookup: str) -> ApiKey | None:
        """Return the unrevoked key whose public half is `lookup`, or None if none exists."""
        statement = select(ApiKey).where(ApiKey.lookup == lookup, ApiKey.revoked_at.is_(None))
        return (await self._session.scalars(statement)).one_or_none()

    async def add(self, key: ApiKey) -> None:
        """Insert a key.

        Raises:
            IntegrityError: another key has the same name.
        """
        self._session.add(key)
        await self._session.flush()

    async def revoke(self, name: str) -> bool:
        """Revoke a key. Return False if no valid key has this name."""
        statement = (
            update(ApiKey)
            .where(ApiKey.name == name, ApiKey.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(ApiKey.id)
        )
        return await self._session.scalar(statement) is not None

    async def used(self, key_id: int) -> None:
        """Set `last_used_at` to now, unless it was set within the last `LAST_USE_PRECISION`."""
        stale = ApiKey.last_used_at < func.now() - LAST_USE_PRECISION
        await self._session.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), stale))
            .values(last_used_at=func.now())
        )
