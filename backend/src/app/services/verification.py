from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.verification import Drift, VerificationRepository


class VerificationService:
    """A service that checks the stored counts and sums, and corrects wrong ones."""

    def __init__(self, session: AsyncSession) -> None:
        self._numbers = VerificationRepository(session)

    async def verify(self, *, fix: bool) -> list[Drift]:
        """Return all wrong counts and sums, and correct them if `fix` is set.

        Without `fix`, the check is one statement and does not block writers. With `fix`, writers
        wait until the transaction commits.
        """
        if fix:
            await self._numbers.lock_writers()
        found = await self._numbers.drift()
        if fix and found:
            await self._numbers.repair()
        return found
