"""Cursors in the service's format: the signed values of the last row, bound to the query."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

_KINDS = {"price_per_night": "n", "checkin_date": "d", "created_at": "t"}
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "n": Decimal,
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "i": int,
}

Filters = tuple[tuple[str, str], ...]


def encoded(key: bytes, binding: bytes, fields: list[str], values: list[Any]) -> str:
    """Return the cursor after a row. Prices are text."""
    written = [
        (_KINDS.get(field, "i"), value if isinstance(value, int | str) else value.isoformat())
        for field, value in zip(fields, values, strict=True)
    ]
    payload = urlsafe_b64encode(orjson.dumps(written)).rstrip(b"=")
    return f"{payload.decode()}.{_signature(key, binding, payload)}"


def decoded(key: bytes, binding: bytes, cursor: str) -> list[Any]:
    """Return the values of a cursor.

    Raises:
        ValueError: the text is no cursor, or it belongs to another query.
    """
    payload, _, signature = cursor.partition(".")
    if not hmac.compare_digest(signature, _signature(key, binding, payload.encode())):
        raise ValueError("not a cursor of this query")
    content = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    return [_READERS[kind](value) for kind, value in orjson.loads(content)]


@lru_cache(maxsize=256)
def binding_of(name: str, sort: str, filters: Filters) -> bytes:
    """Return the list, order and filters that a cursor is bound to, as bytes."""
    values = {name: [value] if name == "category" else value for name, value in filters}
    context = {"list": name, "sort": sort, "filters": values}
    return b"cursor" + json.dumps(context, sort_keys=True).encode()


def _signature(key: bytes, binding: bytes, payload: bytes) -> str:
    signature = hmac.digest(_derived(key, binding), payload, "sha256")
    return urlsafe_b64encode(signature).decode().rstrip("=")


@lru_cache(maxsize=256)
def _derived(key: bytes, binding: bytes) -> bytes:
    return hmac.digest(key, binding, "sha256")
