from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.verification import Drift, VerificationRepository


class VerificationService:
    """A service that checks the derived numbers and corrects them if they are wrong."""

    def __init__(self, session: AsyncSession) -> None:
        self._numbers = VerificationRepository(session)

    async def verify(self, *, fix: bool) -> list[Drift]:
        """Return all wrong numbers, and correct them if `fix` is set.

        The check is one statement with one snapshot, so it does not block writers. A correction
        blocks writers until it commits.
        """
        if fix:
            await self._numbers.lock_writers()
        found = await self._numbers.drift()
        if fix and found:
            await self._numbers.repair()
        return found
