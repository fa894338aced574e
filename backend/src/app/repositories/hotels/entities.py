"""Reads and writes of single hotels as ORM objects."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from app.core.errors import ConflictError
from app.models import Hotel
from app.schemas.hotels import HotelResponse

HAS_DEALS = "The hotel has deals; delete or move them first"
_CENT = Decimal("0.01")


class HotelRepository:
    """Hotels in the session's transaction. Each write checks the version (`version_id_col`)."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, hotel_id: int) -> Hotel | None:
        """Return a hotel, or None if it does not exist."""
        return await self._session.get(Hotel, hotel_id)

    async def add(self, values: Mapping[str, Any]) -> Hotel:
        """Insert a hotel and return it.

        Raises:
            IntegrityError: another hotel has the same phone, or the same name, city and country.
        """
        hotel = Hotel(**values)
        self._session.add(hotel)
        await self._session.flush()
        return hotel

    async def change(self, hotel: Hotel, values: Mapping[str, Any]) -> bool:
        """Update a hotel. Return False if it was changed or deleted since it was read.

        If all values are unchanged, nothing is written.

        Raises:
            IntegrityError: another hotel has the same phone, or the same name, city and country.
        """
        for name, value in values.items():
            setattr(hotel, name, value)
        return await self._is_flushed()

    async def remove(self, hotel: Hotel) -> bool:
        """Delete a hotel. Return False if it was changed or deleted since it was read.

        Raises:
            ConflictError: the hotel has deals.
        """
        await self._session.delete(hotel)
        try:
            return await self._is_flushed()
        except IntegrityError as error:
            raise ConflictError(HAS_DEALS) from error

    async def _is_flushed(self) -> bool:
        try:
            await self._session.flush()
        except StaleDataError:
            return False
        return True


def entity_response(hotel: Hotel) -> HotelResponse:
    """Convert a hotel to a `HotelResponse`. The average is rounded as PostgreSQL's round() does."""
    stars = hotel.star_rating
    return {
        "id": hotel.id,
        "name": hotel.name,
        "city": hotel.city,
        "country": hotel.country,
        "phone": hotel.phone,
        "avg_star_rating": None if stars is None else float(stars.quantize(_CENT, ROUND_HALF_UP)),
        "deal_count": hotel.deal_count,
        "version": hotel.version_id,
        "created_at": hotel.created_at,
        "updated_at": hotel.updated_at,
    }
