from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import LargeBinary, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class KeyIdentity:
    """The identity of an idempotency key: a key is unique for a route and an actor."""

    route: str
    actor: str
    key: str

    @property
    def parameters(self) -> dict[str, str]:
        """Return the columns of the primary key."""
        return {"route": self.route, "actor": self.actor, "key": self.key}


@dataclass(frozen=True)
class StoredResponse:
    """A stored response, with the hash of its request's body."""

    body_hash: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


# Does not wait for the lock: while the first request runs, a second one gets an error. The lock
# ends with the transaction, so a failed request or a dead server leaves no lock.
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

# Replaces a key older than 24 hours. Each call also removes a few expired keys, so the table holds
# about one day of keys without a job that removes them.
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
    """The idempotency keys in the transaction of the request's effect."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, identity: KeyIdentity) -> tuple[bool, StoredResponse | None]:
        """Try to claim a key. Return whether it was free, and the stored response if any."""
        row = (await self._session.execute(_CLAIM, identity.parameters)).one()
        stored = StoredResponse(*row[1:]) if row.status is not None else None
        return row.free, stored

    async def store(self, identity: KeyIdentity, response: StoredResponse) -> bool:
        """Store the response, and return False if another request stored one since `claim`."""
        parameters = {
            **identity.parameters,
            "body_hash": response.body_hash,
            "status": response.status,
            "headers": dict(response.headers),
            "body": response.body,
        }
        return await self._session.scalar(_STORE, parameters) is not None
