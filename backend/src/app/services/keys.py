"""API keys, which an operator creates and revokes. In production every write requires a key.

A key has the form `hd_<lookup>_<secret>`. The service finds the key's row by the lookup. The secret
is 32 random bytes. The database stores only the secret's SHA-256, and the service compares hashes
in constant time. A key is displayed only once, when it is created.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import ForbiddenError, NotFoundError, UnauthorizedError
from app.db.unit_of_work import UnitOfWork
from app.models import ApiKey
from app.repositories.keys import LAST_USE_PRECISION, ApiKeyRepository

Scope = Literal["deals:write", "imports:write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# Each process caches a valid key for this many seconds. A revoked key can write until the cache
# entry expires.
CACHE_SECONDS = 5.0
_CACHE_SIZE = 1000
_PREFIX = "hd"


@dataclass(frozen=True)
class Actor:
    """The client that sends a request, identified by the name and scopes of its API key."""

    name: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Check that the actor has `scope`.

        Raises:
            ForbiddenError: the actor has neither `scope` nor "admin".
        """
        if not self.scopes & {scope, "admin"}:
            raise ForbiddenError(f"The key lacks the scope {scope}")


# With APP_ENV=development, the actor of requests without a key.
DEVELOPER = Actor("development", frozenset({"admin"}))


class KeyService:
    """A service that creates, lists and revokes API keys in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._keys = ApiKeyRepository(session)

    async def create(self, name: str, scopes: Sequence[Scope]) -> str:
        """Create a key and return it. The key cannot be displayed again.

        Raises:
            ConflictError: another key has this name.
        """
        lookup, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        await self._keys.add(
            ApiKey(
                name=name,
                lookup=lookup,
                secret_hash=_hashed(secret),
                scopes=sorted(set(scopes)),
            )
        )
        return f"{_PREFIX}_{lookup}_{secret}"

    async def all(self) -> Sequence[ApiKey]:
        """Return all keys, including revoked ones, sorted by name."""
        return await self._keys.all()

    async def revoke(self, name: str) -> None:
        """Revoke a key. All processes refuse it within `CACHE_SECONDS`.

        Raises:
            NotFoundError: no key has this name, or the key is already revoked.
        """
        if not await self._keys.revoke(name):
            raise NotFoundError(
                f"There is no active key named {name}; `deals keys list` shows all keys"
            )


class ApiKeyAuthenticator:
    """An authenticator that checks API keys and caches valid ones. Each process has one."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._known: dict[bytes, tuple[float, Actor]] = {}

    async def actor(self, presented: str) -> Actor:
        """Check the presented key and return the key's actor.

        Raises:
            UnauthorizedError: the key is invalid. The error does not say why.
        """
        # The cache is indexed by hashes, so that a memory dump contains no keys.
        fingerprint = _hashed(presented)
        until, actor = self._known.get(fingerprint, (0.0, None))
        if actor is not None and time.monotonic() < until:
            return actor
        actor = await self._find(presented)
        if len(self._known) >= _CACHE_SIZE:
            self._known.clear()
        self._known[fingerprint] = (time.monotonic() + CACHE_SECONDS, actor)
        return actor

    async def _find(self, presented: str) -> Actor:
        prefix, _, rest = presented.partition("_")
        lookup, _, secret = rest.partition("_")
        if prefix != _PREFIX or not lookup.isalnum() or not lookup.isascii():
            raise UnauthorizedError
        # Read the primary, because a replica may lag behind a revocation.
        async with self._uow.begin() as session:
            key = await ApiKeyRepository(session).valid(lookup)
            # Compare even if no key was found, so that timing does not reveal which lookups exist.
            expected = key.secret_hash if key else bytes(32)
            if not hmac.compare_digest(expected, _hashed(secret)) or key is None:
                raise UnauthorizedError
            used = key.last_used_at
            if used is None or datetime.now(UTC) - used > LAST_USE_PRECISION:
                await ApiKeyRepository(session).used(key.id)
        return Actor(key.name, frozenset(key.scopes))


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
