"""What routes ask for by type."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request

from app.db.session import Database, ReadSession
from app.schemas.common import NoQuery


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

NoQueryParameters = Annotated[NoQuery, Query()]
