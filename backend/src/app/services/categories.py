from app.repositories.categories import CategoryRepository
from app.schemas.categories import CategoryResponse


class CategoryService:
    """Listing categories."""

    def __init__(self, categories: CategoryRepository) -> None:
        self._categories = categories

    async def all(self) -> list[CategoryResponse]:
        """Every category, by name."""
        return [{"name": name, "deal_count": count} for name, count in await self._categories.all()]
