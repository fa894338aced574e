"""Entity tags (RFC 9110, section 8.8.3) of what has a version.

A tag is `"<version>.<digest of the body>"`. A deal's body also shows its hotel, whose average moves
without the deal's version: the version alone would call an old body current, and the digest
alone would refuse a change because a stranger's deal moved an average. So `If-None-Match` compares
all of the tag and `If-Match` its version.
"""

import re
from hashlib import blake2b

_TAG = re.compile(r'"(\d{1,10})\.[0-9a-f]{16}"', re.ASCII)


def etag(version: int, body: bytes) -> str:
    """The tag of a representation."""
    return f'"{version}.{blake2b(body, digest_size=8).hexdigest()}"'


def etag_matches(if_none_match: str, tag: str) -> bool:
    """Whether a client that sends this `If-None-Match` has the representation; weak comparison."""
    candidates = (candidate.strip() for candidate in if_none_match.split(","))
    return any(c == "*" or c.removeprefix("W/") == tag for c in candidates)


def parse_if_match(if_match: str | None) -> frozenset[int] | None:
    """The versions an `If-Match` accepts, None for any; a tag that is not ours accepts none."""
    if if_match is None:
        return None
    candidates = [candidate.strip() for candidate in if_match.split(",")]
    if "*" in candidates:
        return None
    found = (_TAG.fullmatch(candidate) for candidate in candidates)
    return frozenset(int(match[1]) for match in found if match)
