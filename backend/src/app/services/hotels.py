from collections.abc import Sequence
from typing import Any

from app.errors import NotFoundError
from app.repositories.hotels import ORDER, HotelRepository
from app.schemas.hotels import Hotel, HotelPage, HotelQuery
from app.services.cursors import CursorCodec
from app.services.paging import PageRequest


class HotelService:
    """Finding hotels."""

    def __init__(self, hotels: HotelRepository, cursors: CursorCodec) -> None:
        self._hotels = hotels
        self._cursors = cursors

    async def page(self, query: HotelQuery) -> HotelPage:
        """The page of hotels that `query` asks for; empty, with its total, past the end.

        Raises:
            InvalidInputError: the cursor is not one of this query.
        """
        request = PageRequest.of("hotels", query, ORDER, self._cursors)
        total, rows = await self._hotels.page(request.filters, request.place, query.counting)
        page = request.page(rows, {"id": 1})
        return {
            "items": [_hotel(row[1:]) for row in page.rows],
            "total": total,
            "skip": page.skip,
            "limit": query.limit,
            "next_cursor": page.next_cursor,
        }

    async def get(self, hotel_id: int) -> Hotel:
        """One hotel.

        Raises:
            NotFoundError: there is none of that id.
        """
        row = await self._hotels.get(hotel_id)
        if row is None:
            raise NotFoundError(f"Hotel {hotel_id} does not exist")
        return _hotel(row)


def _hotel(row: Sequence[Any]) -> Hotel:
    """Shape a row of `HotelRepository.get`."""
    return {
        "id": row[0],
        "name": row[1],
        "city": row[2],
        "country": row[3],
        "phone": row[4],
        "avg_star_rating": row[5],
        "deal_count": row[6],
        "created_at": row[7],
        "updated_at": row[8],
    }
