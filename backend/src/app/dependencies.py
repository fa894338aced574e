"""What routes ask for by type."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request

from app.db.session import Database, ReadSession
from app.repositories.deals import DealRepository
from app.repositories.hotels import HotelRepository
from app.schemas.common import NoQuery
from app.services.cursors import CursorCodec
from app.services.deals import DealService
from app.services.hotels import HotelService


def get_database(request: Request) -> Database:
    """The pools that the application's lifespan opened."""
    database: Database = request.app.state.database
    return database


async def get_read_session(request: Request) -> AsyncIterator[ReadSession]:
    """A session for this request's reads, back in the pool before the response is sent."""
    async with get_database(request).read() as session:
        yield session


# scope="function": FastAPI would otherwise close the session after the response, and an error of
# the database found there could not reach the client any more.
ReadDB = Annotated[ReadSession, Depends(get_read_session, scope="function")]


def get_cursors(request: Request) -> CursorCodec:
    """The codec of the application's signing key."""
    codec: CursorCodec = request.app.state.cursors
    return codec


async def reading_deals(request: Request, session: ReadDB) -> DealService:
    """The service for deals, on a session that only reads."""
    return DealService(DealRepository(session), get_cursors(request))


async def reading_hotels(request: Request, session: ReadDB) -> HotelService:
    """The service for hotels, on a session that only reads."""
    return HotelService(HotelRepository(session), get_cursors(request))


ReadingDeals = Annotated[DealService, Depends(reading_deals)]
ReadingHotels = Annotated[HotelService, Depends(reading_hotels)]

NoQueryParameters = Annotated[NoQuery, Query()]
