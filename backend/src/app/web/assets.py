"""Static files of the pages. Pages load no file from another host.

The service's own files are in `static/`. `scripts/vendor.py` copies the files in `vendor/` from npm
packages.
"""

import asyncio
import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from app.http.content_negotiation import takes_gzip
from app.http.responses import not_modified_or

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "static", _HERE / "vendor")
_SUFFIXES = {".css", ".js", ".svg"}

# The media type of RFC 9239. Python 3.11 and some systems use an older media type.
mimetypes.add_type("text/javascript", ".js")


@cache
def _addresses() -> dict[str, str]:
    """Map each file's name to its address, a digest of the content followed by the name."""
    return {
        name: f"{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}/{name}"
        for folder in _FOLDERS
        for file in sorted(folder.rglob("*"))
        if file.suffix in _SUFFIXES and file.is_file()
        for name in [str(file.relative_to(folder))]
    }


def asset(name: str) -> str:
    """Return the URL path of a file such as `pages.css` or `htmx.org/htmx.min.js`.

    Raises:
        LookupError: the file does not exist.
    """
    return f"/static/{_addresses()[name]}"


@cache
def _compressed(name: str) -> bytes:
    """Return the gzip-compressed content of a file."""
    file = next(folder / name for folder in _FOLDERS if (folder / name).is_file())
    return gzip.compress(file.read_bytes(), mtime=0)


async def _gzip_response(request: Request, address: str) -> Response:
    """Return a compressed file. Its entity tag differs from that of the uncompressed file."""
    digest, _, name = address.partition("/")
    content = await asyncio.to_thread(_compressed, name)
    headers = {"Content-Encoding": "gzip", "ETag": f'"{digest}-gzip"'}
    media_type, _ = mimetypes.guess_type(name)
    return not_modified_or(request, Response(content, headers=headers, media_type=media_type))


class _ImmutableFiles:
    """An ASGI application for static files. A file's URL changes with the file's content."""

    def __init__(self) -> None:
        self._files = StaticFiles(packages=[("app.web", folder.name) for folder in _FOLDERS])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route
        address = scope["path_params"]["address"]
        name = address.partition("/")[2]
        if _addresses().get(name) != address:
            raise HTTPException(404)

        async def send_as_immutable(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "public, max-age=31536000, immutable"
                headers["Vary"] = "Accept-Encoding"
            await send(message)

        request = Request(scope)
        if takes_gzip(",".join(request.headers.getlist("accept-encoding"))):
            response = await _gzip_response(request, address)
            await response(scope, receive, send_as_immutable)
            return
        await self._files(
            {**scope, "path": f"/{name}", "root_path": ""}, receive, send_as_immutable
        )


route = Route("/static/{address:path}", _ImmutableFiles(), methods=["GET"])
