"""Opaque places in a list: what the last row of a page sorts by, signed.

A cursor says "after this row", not "after so many rows", so rows that come and go between two
pages neither repeat nor hide others. It is bound to its list, order and filters by the signature:
one that was altered, or that came from another query, is refused instead of answering nonsense.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from app.core.errors import ErrorDetail, InvalidInputError

_SIGNATURE_BYTES = 16


class CursorCodec:
    """Writes and reads the cursors of one key.

    Servers that answer for each other need the same key; a new key makes old cursors invalid.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, query: Mapping[str, Any], values: Sequence[Any]) -> str:
        """The cursor behind a row.

        Args:
            query: what the cursor is bound to: list, order and filters.
            values: what the row sorts by, in that order, its id last.
        """
        payload = json.dumps([_written(value) for value in values], separators=(",", ":")).encode()
        return urlsafe_b64encode(self._signature(query, payload) + payload).decode().rstrip("=")

    def decode(self, query: Mapping[str, Any], cursor: str) -> list[Any]:
        """The values that a cursor of this query was made from.

        Raises:
            InvalidInputError: it was altered, or is of another query.
        """
        try:
            raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (Base64Error, ValueError):
            raise _refusal() from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(query, payload)):
            raise _refusal()
        return [_read(kind, value) for kind, value in json.loads(payload)]

    def _signature(self, query: Mapping[str, Any], payload: bytes) -> bytes:
        context = json.dumps(query, default=str, sort_keys=True).encode()
        message = hashlib.sha256(context).digest() + payload
        return hmac.digest(self._key, message, "sha256")[:_SIGNATURE_BYTES]


def _written(value: Any) -> tuple[str, Any]:
    if isinstance(value, Decimal):
        return "n", str(value)
    if isinstance(value, datetime):
        return "t", value.isoformat()
    if isinstance(value, date):
        return "d", value.isoformat()
    return "i", value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "n": Decimal,
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "i": int,
}


def _read(kind: str, value: Any) -> Any:
    """The inverse of `_written`; only signed values come here."""
    return _READERS[kind](value)


def _refusal() -> InvalidInputError:
    message = "Not a cursor of this list with these filters and this sort"
    return InvalidInputError(details=[ErrorDetail("query.cursor", message)])
