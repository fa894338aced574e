"""Uploaded files: the accepted media types, and the content as a stream."""

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from app.core.errors import InvalidInputError, UnsupportedMediaTypeError
from app.core.limits import MAX_FILE_NAME_LENGTH
from app.http.multipart import FILE, FilePart

# Media types of a request that sends the file as its body instead of in a form. The loader ignores
# the media type and recognizes gzip by the file's first bytes.
RAW_TYPES = (
    "text/csv",
    "application/csv",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
)
FORM_TYPE = "multipart/form-data"
# A CSV body with `Content-Encoding: gzip` is the same as a .csv.gz file, and is stored compressed.
_RAW_ENCODINGS = {"", "identity", "gzip", "x-gzip"}
_NO_ENCODING = {"", "identity"}


@dataclass(frozen=True)
class UploadedFile:
    """An uploaded file. Its content can be read once.

    `name` is the client's name for the file. It is for display only: it is not unique and never
    part of a path. It has up to 255 characters, no folder path, and no control or formatting
    characters.

    Reading `content` raises an error if the upload fails, so that the service does not store the
    file. An `InvalidInputError` reports an empty file, an invalid form, a disconnected client, or a
    size other than the declared one. A file that is too large gets a 413.
    """

    name: str | None
    content: AsyncIterator[bytes]


async def uploaded_file(request: Request) -> UploadedFile:
    """Return the file that a request sends as its body or in a form.

    Raises:
        UnsupportedMediaTypeError: the body has an unsupported media type or encoding.
        InvalidInputError: the body is an invalid form, or a form without a file.
    """
    headers = request.headers
    kind, options = parse_options_header(headers.get("content-type"))
    encoding = headers.get("content-encoding", "").strip().lower()
    body = _body(request)
    if kind == FORM_TYPE.encode():
        if encoding not in _NO_ENCODING:
            raise UnsupportedMediaTypeError("A multipart form may not have a Content-Encoding")
        part = FilePart(options.get(b"boundary"), body)
        await part.open()
        return UploadedFile(_name(part.filename), _some(part.content()))
    if kind.decode("latin-1") not in RAW_TYPES:
        raise UnsupportedMediaTypeError(
            f"The Content-Type must be one of {', '.join(RAW_TYPES)}, or {FORM_TYPE} with a part "
            f"named {FILE!r}"
        )
    if encoding not in _RAW_ENCODINGS:
        raise UnsupportedMediaTypeError(
            "The Content-Encoding of a file must be gzip or identity, or be left out"
        )
    _, disposition = parse_options_header(headers.get("content-disposition"))
    return UploadedFile(_name(disposition.get(b"filename")), _some(body))


Uploaded = Annotated[UploadedFile, Depends(uploaded_file)]


async def _body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body's blocks as they arrive, and compare their size with `Content-Length`.

    uvicorn detects most truncated bodies, but proxies and other servers may not.
    """
    declared = request.headers.get("content-length")
    received = 0
    try:
        async for block in request.stream():
            if block:
                received += len(block)
                yield block
    except ClientDisconnect as error:
        raise InvalidInputError("The body is cut off: the client disconnected") from error
    if declared is not None and declared != str(received):
        raise InvalidInputError(
            f"The body has {received} bytes, but its Content-Length is {declared}; send it again"
        )


async def _some(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    empty = True
    async for block in content:
        empty = empty and not block
        yield block
    if empty:
        raise InvalidInputError("The file is empty")


def _name(given: bytes | None) -> str | None:
    """Remove the folder path, control characters and formatting characters from a file name."""
    text = (given or b"").decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    plain = "".join(each for each in text if not unicodedata.category(each).startswith("C"))
    return plain.strip()[:MAX_FILE_NAME_LENGTH] or None
