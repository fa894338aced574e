"""Entity tags (RFC 9110, sections 8.8.3 and 13.1)."""

from hashlib import blake2b

from fastapi import Request, Response


def tagged(request: Request, response: Response, version: int) -> Response:
    """`response` with its `ETag`, or 304 when the client's `If-None-Match` has it.

    The tag is `"<version>.<digest of the body>"`: the body also shows the hotel, whose average
    moves without the deal's version, so the version alone would call an old body current.
    """
    etag = f'"{version}.{blake2b(response.body, digest_size=8).hexdigest()}"'
    known = request.headers.get("if-none-match")
    if known is not None and _matches(known, etag):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return response


def _matches(header: str, etag: str) -> bool:
    """Weak comparison, as `If-None-Match` asks for."""
    return any(
        candidate.strip() == "*" or candidate.strip().removeprefix("W/") == etag
        for candidate in header.split(",")
    )
