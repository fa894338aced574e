from collections.abc import Sequence

from sqlalchemy import BigInteger, func, select

from app.db.reader import AnyRow, Reader
from app.models import Category, category_totals

DEAL_COUNT = (
    select(func.coalesce(func.sum(category_totals.c.deal_count), 0))
    .where(category_totals.c.category_id == Category.id)
    .scalar_subquery()
    .cast(BigInteger)
)
# "C" orders by code point, in every database alike.
BY_NAME = Category.name.collate("C")

_ALL = select(Category.name, DEAL_COUNT).order_by(BY_NAME)


class CategoryRepository:
    """The categories in SQL."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def all(self) -> Sequence[AnyRow]:
        """Rows of `(name, deal_count)`, by name."""
        return await self._reader.rows(_ALL)
