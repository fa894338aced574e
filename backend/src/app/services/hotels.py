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
    """A service that reads pages of hotels."""

    def __init__(self, hotels: HotelReadRepository, cursors: CursorCodec) -> None:
        self._hotels = hotels
        self._cursors = cursors

    async def page(self, query: HotelQuery) -> PaginatedResponse[HotelResponse]:
        """Return the page of hotels that `query` selects. A page past the end is empty.

        Raises:
            InvalidInputError: the cursor is invalid or belongs to another query.
        """
        request = PageRequest.of("hotels", query, ORDER, self._cursors)
        total, hotels = await self._hotels.page(request.filters, request.place, query.counting)
        return request.response(total, hotels, lambda hotel, _: hotel["id"])


class HotelService:
    """A service that reads, creates, changes and deletes hotels in the session's transaction.

    Writes raise ConflictError if another hotel has the same phone number, or the same name in the
    same city and country.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._hotels = HotelRepository(session)

    async def get(self, hotel_id: int) -> HotelResponse:
        """Return the hotel with the id `hotel_id`.

        Raises:
            NotFoundError: no hotel has this id.
        """
        return entity_response(await self._stored(hotel_id))

    async def create(self, hotel: HotelCreate) -> HotelResponse:
        """Store a new hotel."""
        return entity_response(await self._hotels.add(hotel.model_dump()))

    async def change(
        self, hotel_id: int, patch: HotelPatch, expected: VersionPrecondition
    ) -> HotelResponse:
        """Update the hotel with the fields of `patch`. If no value differs, keep the version.

        Raises:
            NotFoundError: the hotel does not exist.
            PreconditionFailedError: the client expects a different version of the hotel.
            ConflictError: another request changed the hotel first.
        """
        hotel = await self._stored(hotel_id)
        expected.require(hotel.version_id)
        if not await self._hotels.change(hotel, patch.model_dump()):
            raise expected.concurrent_update_error()
        return entity_response(hotel)

    async def remove(self, hotel_id: int, expected: VersionPrecondition) -> None:
        """Delete a hotel that has no deals.

        Raises:
            NotFoundError: the hotel does not exist.
            PreconditionFailedError: the client expects a different version of the hotel.
            ConflictError: the hotel has deals, or another request changed it first.
        """
        hotel = await self._stored(hotel_id)
        expected.require(hotel.version_id)
        # Check for deals before the delete, to avoid a deadlock. The delete could wait for a
        # transaction that writes a deal of this hotel, while that transaction waits for the hotel.
        if hotel.deal_count:
            raise ConflictError(HAS_DEALS)
        if not await self._hotels.remove(hotel):
            raise expected.concurrent_update_error()

    async def _stored(self, hotel_id: int) -> Hotel:
        hotel = await self._hotels.get(hotel_id)
        if hotel is None:
            raise NotFoundError(f"Hotel {hotel_id} does not exist")
        return hotel
