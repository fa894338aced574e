from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import LargeBinary, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class KeyIdentity:
    """The identity of an idempotency key. Keys of different routes or actors are distinct."""

    route: str
    actor: str
    key: str

    @property
    def parameters(self) -> dict[str, str]:
        """Return the bound parameters for the primary key."""
        return {"route": self.route, "actor": self.actor, "key": self.key}


@dataclass(frozen=True)
class StoredResponse:
    """The response to a request, stored with the hash of the request body."""

    body_hash: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


# Try to lock the key without waiting. If another request with the key is running, the client gets
# an error. PostgreSQL frees the lock when the transaction ends, even if the request fails or the
# server crashes.
_CLAIM = text(
    """
    SELECT pg_try_advisory_xact_lock(
            hashtextextended(:route || chr(10) || :actor || chr(10) || :key, 0)
        ) AS free,
        stored.body_hash, stored.status, stored.headers, stored.body
    FROM (SELECT 1) AS one LEFT JOIN idempotency_keys AS stored
        ON stored.route = :route AND stored.actor = :actor AND stored.key = :key
        AND stored.created_at > now() - interval '24 hours'
    """
)

# Store a response, and replace one that is older than 24 hours. Each call deletes up to 20 expired
# keys, so the table holds about one day of keys even without the housekeeping job.
_STORE = text(
    """
    WITH expired AS (
        DELETE FROM idempotency_keys WHERE (route, actor, key) IN (
            SELECT route, actor, key FROM idempotency_keys
            WHERE created_at <= now() - interval '24 hours'
                AND (route, actor, key) <> (:route, :actor, :key)
            ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED
        )
    )
    INSERT INTO idempotency_keys AS stored (
        route, actor, key, body_hash, status, headers, body
    ) VALUES (:route, :actor, :key, :body_hash, :status, :headers, :body)
    ON CONFLICT (route, actor, key) DO UPDATE SET
        body_hash = EXCLUDED.body_hash,
        status = EXCLUDED.status,
        headers = EXCLUDED.headers,
        body = EXCLUDED.body,
        created_at = now()
    WHERE stored.created_at <= now() - interval '24 hours'
    RETURNING 1
    """
).bindparams(
    bindparam("body_hash", type_=LargeBinary),
    bindparam("headers", type_=JSONB),
    bindparam("body", type_=LargeBinary),
)


class IdempotencyRepository:
    """Statements on idempotency keys, in the transaction that makes the request's change."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, identity: KeyIdentity) -> tuple[bool, StoredResponse | None]:
        """Try to lock a key. Return whether the lock was free, and any response stored earlier."""
        row = (await self._session.execute(_CLAIM, identity.parameters)).one()
        stored = StoredResponse(*row[1:]) if row.status is not None else None
        return row.free, stored

    async def store(self, identity: KeyIdentity, response: StoredResponse) -> bool:
        """Store a response. Return False if another request stored one after `claim`."""
        parameters = {
            **identity.parameters,
            "body_hash": response.body_hash,
            "status": response.status,
            "headers": dict(response.headers),
            "body": response.body,
        }
        return await self._session.scalar(_STORE, parameters) is not None
