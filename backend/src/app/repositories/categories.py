from sqlalchemy import BigInteger, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Category, category_totals
from app.schemas.categories import CategoryResponse

DEAL_COUNT = (
    select(func.coalesce(func.sum(category_totals.c.deal_count), 0))
    .where(category_totals.c.category_id == Category.id)
    .scalar_subquery()
    .cast(BigInteger)
)
# The collation "C" sorts by code point, whatever the database's locale.
BY_NAME = Category.name.collate("C")

_ALL = select(Category.name, DEAL_COUNT).order_by(BY_NAME)


class CategoryRepository:
    """Queries that read categories in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> list[CategoryResponse]:
        """Return all categories with their deal counts, sorted by name."""
        found = await self._session.execute(_ALL)
        return [{"name": name, "deal_count": count} for name, count in found]
