"""Hand-written query strings, links and answers."""

from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_plus

import orjson

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

_JSON = (b"content-type", b"application/json")


def arguments(query: bytes) -> dict[str, str]:
    """Return the parameters of a query string, with the last value of a repeated one."""
    pairs = (pair.partition("=") for pair in query.decode().split("&") if pair)
    return {name: unquote_plus(value) for name, _, value in pairs}


def page(path: str, query: bytes, content: dict[str, Any], got: int) -> Answer:
    """Return an answer with a page and links to the first and the next page."""
    kept = [
        pair
        for pair in query.decode().split("&")
        if pair and not pair.startswith(("skip=", "cursor="))
    ]
    link = f'<{path}?{"&".join(kept)}>; rel="first"' if kept else f'<{path}>; rel="first"'
    cursor = content["next_cursor"]
    if cursor is not None:
        skip = content["skip"]
        kept.append(f"cursor={cursor}" if skip is None else f"skip={skip + got}")
        link += f', <{path}?{"&".join(kept)}>; rel="next"'
    return 200, [_JSON, (b"link", link.encode())], dumped(content)


def answer(content: Any) -> Answer:
    """Return an answer with a JSON body."""
    return 200, [_JSON], dumped(content)


def tagged(content: dict[str, Any], *, location: str | None = None) -> Answer:
    """Return an answer with an ETag from the version, and status 201 if there is a location."""
    body = dumped(content)
    tag = f'"{content["version"]}.{blake2b(body, digest_size=8).hexdigest()}"'
    headers = [_JSON, (b"etag", tag.encode())]
    if location is None:
        return 200, headers, body
    return 201, [*headers, (b"location", location.encode())], body


def dumped(content: Any) -> bytes:
    """Return JSON with decimals as text and timestamps with a Z."""
    return orjson.dumps(content, default=_text, option=orjson.OPT_UTC_Z)


def _text(value: Decimal | datetime) -> str:
    return str(value)
