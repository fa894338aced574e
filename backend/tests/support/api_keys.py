"""API keys for tests of authentication."""

from app.db.session import Database
from app.services.keys import KeyService, Scope


async def create_api_key(database: Database, name: str, *scopes: Scope) -> str:
    """Store a key with these scopes, and return it as a client sends it."""
    async with database.uow.begin() as session:
        return await KeyService(session).create(name, scopes)
