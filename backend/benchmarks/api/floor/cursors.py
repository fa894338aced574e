"""Cursors as the service signs them: HMAC over the query's digest and the last row's values."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

_SIGNATURE_BYTES = 16
_KINDS = {"price_per_night": "n", "checkin_date": "d", "created_at": "t"}
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "n": Decimal,
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "i": int,
}

Filters = tuple[tuple[str, str], ...]


def encoded(key: bytes, binding: bytes, fields: list[str], values: list[Any]) -> str:
    """The cursor behind a row; money comes as text."""
    written = [
        (_KINDS.get(field, "i"), value if isinstance(value, int | str) else value.isoformat())
        for field, value in zip(fields, values, strict=True)
    ]
    payload = orjson.dumps(written)
    signature = hmac.digest(key, binding + payload, "sha256")[:_SIGNATURE_BYTES]
    return urlsafe_b64encode(signature + payload).decode().rstrip("=")


def decoded(key: bytes, binding: bytes, cursor: str) -> list[Any]:
    """The values of a cursor."""
    raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    payload = raw[_SIGNATURE_BYTES:]
    signature = hmac.digest(key, binding + payload, "sha256")[:_SIGNATURE_BYTES]
    if not hmac.compare_digest(raw[:_SIGNATURE_BYTES], signature):
        raise ValueError("not a cursor of this query")
    return [_READERS[kind](value) for kind, value in orjson.loads(payload)]


@lru_cache(maxsize=256)
def binding_of(name: str, sort: str, filters: Filters) -> bytes:
    """The digest of list, order and filters."""
    values = {name: [value] if name == "category" else value for name, value in filters}
    context = {"list": name, "sort": sort, "filters": values}
    return hashlib.sha256(json.dumps(context, sort_keys=True).encode()).digest()
