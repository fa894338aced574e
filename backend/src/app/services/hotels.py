from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import ConflictError, NotFoundError
from app.models import Hotel
from app.repositories.hotels.entities import HAS_DEALS, HotelRepository, entity_response
from app.repositories.hotels.read import ORDER, HotelReadRepository
from app.schemas.common import PaginatedResponse
from app.schemas.hotels import HotelCreate, HotelPatch, HotelQuery, HotelResponse
from app.services.support.cursors import CursorCodec
from app.services.support.pagination import PageRequest
from app.services.support.preconditions import VersionPrecondition


class HotelReadService:
    """Pages of hotels."""

    def __init__(self, hotels: HotelReadRepository, cursors: CursorCodec) -> None:
        self._hotels = hotels
        self._cursors = cursors

    async def page(self, query: HotelQuery) -> PaginatedResponse[HotelResponse]:
        """The page of hotels that `query` asks for; empty, with its total, past the end.

        Raises:
            InvalidInputError: the cursor is not one of this query.
        """
        request = PageRequest.of("hotels", query, ORDER, self._cursors)
        total, hotels = await self._hotels.page(request.filters, request.place, query.counting)
        page = request.page(hotels, lambda hotel, _: hotel["id"])
        return {
            "items": page.items,
            "total": total,
            "skip": page.skip,
            "limit": query.limit,
            "next_cursor": page.next_cursor,
        }


class HotelService:
    """One hotel: reading, creating, changing and removing it, in one transaction.

    That a phone, or a name in a city, is taken is found by the database: a ConflictError.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._hotels = HotelRepository(session)

    async def get(self, hotel_id: int) -> HotelResponse:
        """Return a hotel.

        Raises:
            NotFoundError: there is none of that id.
        """
        return entity_response(await self._stored(hotel_id))

    async def create(self, hotel: HotelCreate) -> HotelResponse:
        """Store a new hotel."""
        return entity_response(await self._hotels.add(hotel.model_dump()))

    async def change(
        self, hotel_id: int, patch: HotelPatch, expected: VersionPrecondition
    ) -> HotelResponse:
        """Change what `patch` sends and what differs; nothing is no change of the version either.

        Raises:
            NotFoundError: there is no such hotel.
            PreconditionFailedError: it is not in the expected version.
            ConflictError: another writer was first.
        """
        hotel = await self._stored(hotel_id)
        expected.require(hotel.version_id)
        if not await self._hotels.change(hotel, patch.model_dump()):
            raise expected.concurrent_update_error()
        return entity_response(hotel)

    async def remove(self, hotel_id: int, expected: VersionPrecondition) -> None:
        """Delete a hotel that has no deals.

        Raises:
            NotFoundError: there is no such hotel.
            PreconditionFailedError: it is not in the expected version.
            ConflictError: it has deals, or another writer was first.
        """
        hotel = await self._stored(hotel_id)
        expected.require(hotel.version_id)
        # A delete that meets a deal would wait for the deal's writer, which may wait for the hotel.
        if hotel.deal_count:
            raise ConflictError(HAS_DEALS)
        if not await self._hotels.remove(hotel):
            raise expected.concurrent_update_error()

    async def _stored(self, hotel_id: int) -> Hotel:
        hotel = await self._hotels.get(hotel_id)
        if hotel is None:
            raise NotFoundError(f"Hotel {hotel_id} does not exist")
        return hotel
