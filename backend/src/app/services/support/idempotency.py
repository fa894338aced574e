import hashlib
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import ConflictError, ErrorDetail, InvalidInputError
from app.repositories.idempotency import IdempotencyRepository, KeyIdentity, StoredResponse

_RUNNING = "A request with this Idempotency-Key is still running, try again shortly"


class IdempotentRequest:
    """A POST with an idempotency key. One transaction stores the change and the response.

    Only successful responses are stored, so the client can reuse the key after an error.
    """

    def __init__(self, identity: KeyIdentity | None, body: bytes) -> None:
        self._identity = identity
        self._body_hash = hashlib.sha256(body).digest()

    async def stored_response(self, session: AsyncSession) -> StoredResponse | None:
        """Return the response to an earlier request with the same key and body, or None.

        Raises:
            ConflictError: the earlier request is still running.
            InvalidInputError: the earlier request had another body.
        """
        if self._identity is None:
            return None
        free, stored = await IdempotencyRepository(session).claim(self._identity)
        if stored is None and not free:
            raise ConflictError(_RUNNING)
        if stored is not None and stored.body_hash != self._body_hash:
            message = "was used with another body; a new request needs a new key"
            raise InvalidInputError(details=[ErrorDetail("header.idempotency-key", message)])
        return stored

    async def store_response(
        self, session: AsyncSession, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Store the response in the transaction that makes the change.

        Raises:
            ConflictError: another request used the key first. The caller must roll back.
        """
        if self._identity is None:
            return
        response = StoredResponse(self._body_hash, status, headers, body)
        if not await IdempotencyRepository(session).store(self._identity, response):
            raise ConflictError(_RUNNING)
