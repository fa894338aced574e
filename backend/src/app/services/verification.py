from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.verification import Drift, VerificationRepository


class VerificationService:
    """Checking the derived numbers, and mending them should they ever be off."""

    def __init__(self, session: AsyncSession) -> None:
        self._numbers = VerificationRepository(session)

    async def verify(self, *, fix: bool) -> list[Drift]:
        """Every number that is off; with `fix` none is, once the transaction has committed.

        Checking is one statement, which sees one moment of the database, so writers need not
        stop for it; mending keeps them waiting.
        """
        if fix:
            await self._numbers.lock_writers()
        found = await self._numbers.drift()
        if fix and found:
            await self._numbers.repair()
        return found
