from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.categories import CategoryRepository
from app.schemas.categories import CategoryResponse


class CategoryService:
    """A service that lists categories."""

    def __init__(self, session: AsyncSession) -> None:
        self._categories = CategoryRepository(session)

    async def all(self) -> list[CategoryResponse]:
        """Return all categories with their deal counts, sorted by name."""
        return await self._categories.all()
