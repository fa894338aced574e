"""The files that pages load, all from this service: no page asks another host for anything.

Ours are in `static/`; those in `vendor/` come from npm and are copied by `scripts/vendor.py`.
"""

import asyncio
import gzip
import hashlib
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.http.content_negotiation import takes_gzip
from app.http.plain_route import PlainRoute

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "static", _HERE / "vendor")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # What is at the address never changes: another content has another address.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}


@cache
def _files() -> dict[str, Path]:
    """Files by the rest of their address: a digest of the content, and the name."""
    return {
        f"{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}/{file.relative_to(folder)}": file
        for folder in _FOLDERS
        for file in sorted(folder.rglob("*"))
        if file.suffix in _TYPES and file.is_file()
    }


@cache
def asset(name: str) -> str:
    """The address of a file, for templates: `htmx.org/htmx.min.js`, `pages.css`.

    Raises:
        LookupError: there is no such file.
    """
    for address in _files():
        if address.partition("/")[2] == name:
            return f"/static/{address}"
    raise LookupError(name)


@cache
def _compressed(file: Path) -> bytes:
    """Kept, because the largest ones take a tenth of a second."""
    return gzip.compress(file.read_bytes(), mtime=0)


async def _serve(request: Request) -> Response:
    file = _files().get(request.path_params["address"])
    if file is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "Content-Type": _TYPES[file.suffix]}
    if takes_gzip(",".join(request.headers.getlist("accept-encoding"))):
        content = await asyncio.to_thread(_compressed, file)
        headers["Content-Encoding"] = "gzip"
    else:
        content = await asyncio.to_thread(file.read_bytes)
    return Response(content, headers=headers)


route = PlainRoute("/static/{address:path}", _serve, methods=["GET"])
