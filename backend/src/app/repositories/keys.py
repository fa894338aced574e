from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import ApiKey

# `last_used_at` is written only if it is older than this.
LAST_USE_PRECISION = timedelta(minutes=1)


class ApiKeyRepository:
    """The API keys of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> Sequence[ApiKey]:
        """Return every key, including revoked ones, sorted by name."""
        return (await self._session.scalars(select(ApiKey).order_by(ApiKey.name))).all()

    async def valid(self, lookup: str) -> ApiKey | None:
        """Return the key with the public half `lookup`, or None if it is unknown or revoked."""
        statement = select(ApiKey).where(ApiKey.lookup == lookup, ApiKey.revoked_at.is_(None))
        return (await self._session.scalars(statement)).one_or_none()

    async def add(self, key: ApiKey) -> None:
        """Insert a key.

        Raises:
            IntegrityError: another key has its name.
        """
        self._session.add(key)
        await self._session.flush()

    async def revoke(self, name: str) -> bool:
        """Revoke the key, and return whether a valid key of this name existed."""
        statement = (
            update(ApiKey)
            .where(ApiKey.name == name, ApiKey.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(ApiKey.id)
        )
        return await self._session.scalar(statement) is not None

    async def used(self, key_id: int) -> None:
        """Record the use of a key, unless a use within `LAST_USE_PRECISION` is recorded."""
        stale = ApiKey.last_used_at < func.now() - LAST_USE_PRECISION
        await self._session.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), stale))
            .values(last_used_at=func.now())
        )
