from collections.abc import Sequence
from typing import Any

from app.errors import NotFoundError
from app.repositories.deals import SORT_COLUMNS, DealRepository
from app.schemas.deals import CityStatistics, Deal, DealPage, DealQuery
from app.services.cursors import CursorCodec
from app.services.paging import PageRequest


class DealService:
    """Finding deals."""

    def __init__(self, deals: DealRepository, cursors: CursorCodec) -> None:
        self._deals = deals
        self._cursors = cursors

    async def page(self, query: DealQuery) -> DealPage:
        """The page of deals that `query` asks for; empty, with its total, past the end.

        Raises:
            InvalidInputError: the cursor is not one of this query.
        """
        request = PageRequest.of("deals", query, query.sort, self._cursors)
        total, rows = await self._deals.page(request.filters, request.place, query.counting)
        page = request.page(rows, SORT_COLUMNS)
        return {
            "items": [_deal(row) for row in page.rows],
            "total": total,
            "skip": page.skip,
            "limit": query.limit,
            "next_cursor": page.next_cursor,
        }

    async def get(self, deal_id: int) -> Deal:
        """One deal.

        Raises:
            NotFoundError: there is none of that id.
        """
        row = await self._deals.get(deal_id)
        if row is None:
            raise NotFoundError(f"Deal {deal_id} does not exist")
        return _deal(row)

    async def statistics_by_city(self, *, available_only: bool) -> list[CityStatistics]:
        """Each city that has deals, most deals first."""
        rows = await self._deals.statistics_by_city(available_only=available_only)
        return [
            {"city": city, "avg_price": average, "deal_count": count}
            for city, average, count in rows
        ]


def _deal(row: Sequence[Any]) -> Deal:
    """Shape a row of `DealRepository.page`."""
    return {
        "id": row[1],
        "external_id": row[2],
        "hotel_id": row[3],
        "room_type": row[4],
        "star_rating": row[5],
        "price_per_night": str(row[6]),
        "original_price": str(row[7]),
        "discount_percent": row[8],
        "checkin_date": row[9],
        "checkout_date": row[10],
        "is_available": row[11],
        "categories": row[12],
        "version": row[13],
        "created_at": row[14],
        "updated_at": row[15],
        "hotel": {
            "id": row[16],
            "name": row[17],
            "city": row[18],
            "country": row[19],
            "phone": row[20],
            "avg_star_rating": row[21],
        },
    }
