"""API keys: made and revoked by an operator, checked with every write.

A key is `hd_<lookup>_<secret>`. The lookup finds its row; the secret, 32 random bytes, is stored as
its SHA-256 and compared in constant time. It is shown once, when it is made.
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

# How long a key that was found valid is taken for valid without asking again, so how long one that
# is revoked may still write.
CACHE_SECONDS = 5.0
_CACHE_SIZE = 1000
_PREFIX = "hd"


@dataclass(frozen=True)
class Actor:
    """Who is asking: a key's name, and what it may do."""

    name: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Let the actor pass.

        Raises:
            ForbiddenError: its scopes have neither this one nor "admin".
        """
        if not self.scopes & {scope, "admin"}:
            raise ForbiddenError(f"The key lacks the scope {scope}")


# In development writes are open.
DEVELOPER = Actor("development", frozenset({"admin"}))


class KeyService:
    """Making, listing and revoking keys, in one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._keys = ApiKeyRepository(session)

    async def create(self, name: str, scopes: Sequence[Scope]) -> str:
        """Make a key; what is returned is not to be had again.

        Raises:
            ConflictError: another key has the name; found by the database.
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
        """Every key there ever was, by name."""
        return await self._keys.all()

    async def revoke(self, name: str) -> None:
        """Make a key useless, within `CACHE_SECONDS` everywhere.

        Raises:
            NotFoundError: there is no such key, or it is revoked already.
        """
        if not await self._keys.revoke(name):
            raise NotFoundError(f"There is no key {name} that could be revoked")


class ApiKeyAuthenticator:
    """Checks the keys of requests; one a process."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._known: dict[bytes, tuple[float, Actor]] = {}

    async def actor(self, presented: str) -> Actor:
        """Whose key this is.

        Raises:
            UnauthorizedError: nobody's; why is not said.
        """
        # By its hash, so that a dump of the memory has no key in it.
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
        # Not on the read pool, whose replica may not know yet that a key is revoked.
        async with self._uow.begin() as session:
            key = await ApiKeyRepository(session).valid(lookup)
            # Compared although no key was found: the time taken must not tell which lookups exist.
            expected = key.secret_hash if key else bytes(32)
            if not hmac.compare_digest(expected, _hashed(secret)) or key is None:
                raise UnauthorizedError
            used = key.last_used_at
            if used is None or datetime.now(UTC) - used > LAST_USE_PRECISION:
                await ApiKeyRepository(session).used(key.id)
        return Actor(key.name, frozenset(key.scopes))


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
