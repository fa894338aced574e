"""Writing hotels, one statement each."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import ConflictError
from app.models import Deal, Hotel
from app.repositories.hotels.read import COLUMNS, hotel_response
from app.schemas.hotels import HotelResponse

HAS_DEALS = "The hotel has deals; delete or move them first"


class HotelWriteRepository:
    """The hotels of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, values: Mapping[str, Any]) -> HotelResponse:
        """Insert a hotel and return it.

        Raises:
            IntegrityError: another hotel has its phone, or its name in its city and country.
        """
        statement = insert(Hotel).values(**values).returning(*COLUMNS)
        return hotel_response((await self._session.execute(statement)).one())

    async def get(self, hotel_id: int) -> HotelResponse | None:
        """Return a hotel."""
        statement = select(*COLUMNS).where(Hotel.id == hotel_id)
        row = (await self._session.execute(statement)).one_or_none()
        return hotel_response(row) if row else None

    async def change(
        self, hotel_id: int, version: int, values: Mapping[str, Any]
    ) -> HotelResponse | None:
        """Change the given columns of the hotel in that version; None when it has another.

        Raises:
            IntegrityError: as `add`.
        """
        statement = (
            update(Hotel)
            .where(Hotel.id == hotel_id, Hotel.version_id == version)
            .values(**values, version_id=version + 1)
            .returning(*COLUMNS)
            .execution_options(synchronize_session=False)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return hotel_response(row) if row else None

    async def remove(self, hotel_id: int, version: int) -> bool:
        """Delete the hotel in that version; False when it has another, or deals.

        Asks for deals first: a delete that meets one would wait for its writer, who may wait for
        the hotel. One that is inserted after the look is met by the foreign key.

        Raises:
            ConflictError: a deal was made meanwhile.
        """
        statement = (
            delete(Hotel)
            .where(Hotel.id == hotel_id, Hotel.version_id == version)
            .where(~exists().where(Deal.hotel_id == hotel_id))
            .returning(Hotel.id)
            .execution_options(synchronize_session=False)
        )
        try:
            return await self._session.scalar(statement) is not None
        except IntegrityError as error:
            raise ConflictError(HAS_DEALS) from error
