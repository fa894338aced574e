"""Entity tags (RFC 9110, section 8.8.3) of deals and hotels.

A tag is `"<version>.<digest of the body>"`. A deal's body includes the average stars of its hotel,
which change without a new version of the deal. A client's copy with an old average is stale, so
`If-None-Match` compares the whole tag. A new average does not conflict with a write, so `If-Match`
compares only the version.
"""

import re
from hashlib import blake2b

_TAG = re.compile(r'"(\d{1,10})\.[0-9a-f]{16}"', re.ASCII)


def etag(version: int, body: bytes) -> str:
    """Return the entity tag for a response body and the version of its resource."""
    return f'"{version}.{blake2b(body, digest_size=8).hexdigest()}"'


def etag_matches(if_none_match: str, tag: str) -> bool:
    """Return whether `If-None-Match` contains `tag`, by weak comparison."""
    candidates = (candidate.strip() for candidate in if_none_match.split(","))
    return any(c == "*" or c.removeprefix("W/") == tag for c in candidates)


def parse_if_match(if_match: str | None) -> frozenset[int] | None:
    """Return the versions that `If-Match` accepts, or None for all. Ignore malformed tags."""
    if if_match is None:
        return None
    candidates = [candidate.strip() for candidate in if_match.split(",")]
    if "*" in candidates:
        return None
    found = (_TAG.fullmatch(candidate) for candidate in candidates)
    return frozenset(int(match[1]) for match in found if match)
