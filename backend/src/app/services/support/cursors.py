"""Opaque places in a list: what the last row of a page sorts by, signed.

A cursor says "after this row", not "after so many rows", so rows that come and go between two
pages neither repeat nor hide others. It is bound to its list, order and filters by the signature:
one that was altered, or that came from another query, is refused instead of answering nonsense.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from app.core.errors import ErrorDetail, InvalidInputError


class CursorCodec:
    """The writer and reader of the cursors of one key.

    Servers that answer for each other need the same key. A new key makes old cursors invalid.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, query: Mapping[str, Any], values: Sequence[Any]) -> str:
        """Return the cursor behind a row.

        Args:
            query: what the cursor is bound to: list, order and filters.
            values: what the row sorts by, in that order, its id last.
        """
        payload = json.dumps([_written(value) for value in values], separators=(",", ":"))
        return self._signer(query).sign(base64_encode(payload)).decode()

    def decode(self, query: Mapping[str, Any], cursor: str) -> list[Any]:
        """Return the values that a cursor of this query was made from.

        Raises:
            InvalidInputError: it was altered, or is of another query.
        """
        try:
            payload = base64_decode(self._signer(query).unsign(cursor))
        except (BadData, UnicodeError):
            message = "Not a cursor of this list with these filters and this sort"
            raise InvalidInputError(details=[ErrorDetail("query.cursor", message)]) from None
        return [_READERS[kind](value) for kind, value in json.loads(payload)]

    def _signer(self, query: Mapping[str, Any]) -> Signer:
        """Return a signer whose key is derived from the query.

        A `URLSafeSerializer` would spend five times as long, because it tries to compress.
        """
        return Signer(
            self._key,
            salt="cursor" + json.dumps(query, default=str, sort_keys=True),
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )


def _written(value: Any) -> tuple[str, Any]:
    if isinstance(value, Decimal):
        return "n", str(value)
    if isinstance(value, datetime):
        return "t", value.isoformat()
    if isinstance(value, date):
        return "d", value.isoformat()
    return "i", value


# The inverse of `_written`, for signed values.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "n": Decimal,
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "i": int,
}
