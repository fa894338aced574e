"""A file in the body of a request: what formats it may come in, and its bytes as they arrive."""

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

# What comes in as a body of its own; `multipart/form-data` is the other way. The types say nothing
# that is relied upon: the loader knows gzip by its first bytes.
RAW_TYPES = (
    "text/csv",
    "application/csv",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
)
FORM_TYPE = "multipart/form-data"
# A CSV that was compressed for its way is the same bytes as a .csv.gz, and is stored as one.
_RAW_ENCODINGS = {"", "identity", "gzip", "x-gzip"}
_NO_ENCODING = {"", "identity"}


@dataclass(frozen=True)
class UploadedFile:
    """A file on its way in, to be read once.

    `name` is what the client calls it, for information: up to 255 characters, none of them a
    control or formatting character, without folders. It is not unique and never part of a path.
    `content` raises what ends an upload early, so that whoever stores it keeps nothing:
    `InvalidInputError` when there is not a single byte, when the client went away or sent less
    than it declared, when a form is not as it must be; HTTP's 413 when it is too large.
    """

    name: str | None
    content: AsyncIterator[bytes]


async def uploaded_file(request: Request) -> UploadedFile:
    """The file of this request; of a form, what stands before its content has been read.

    Raises:
        UnsupportedMediaTypeError: the body is in no format that a file may come in.
        InvalidInputError: it is a form without a file.
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
            f"The body must be {', '.join(RAW_TYPES)} or {FORM_TYPE} with a part named {FILE!r}"
        )
    if encoding not in _RAW_ENCODINGS:
        raise UnsupportedMediaTypeError("The Content-Encoding of a file may be gzip only")
    _, disposition = parse_options_header(headers.get("content-disposition"))
    return UploadedFile(_name(disposition.get(b"filename")), _some(body))


Uploaded = Annotated[UploadedFile, Depends(uploaded_file)]


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives, proven to be as long as was declared.

    Servers notice most that is cut off; a proxy in between, or another server, may not.
    """
    declared = request.headers.get("content-length")
    received = 0
    try:
        async for block in request.stream():
            if block:
                received += len(block)
                yield block
    except ClientDisconnect as error:
        raise InvalidInputError("The body is cut off: the client went away") from error
    if declared is not None and declared != str(received):
        raise InvalidInputError("The body is not as long as its Content-Length")


async def _some(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    empty = True
    async for block in content:
        empty = empty and not block
        yield block
    if empty:
        raise InvalidInputError("The file is empty")


def _name(given: bytes | None) -> str | None:
    """What a client calls a file, made harmless: nobody else knows what else may be in there."""
    text = (given or b"").decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    plain = "".join(each for each in text if not unicodedata.category(each).startswith("C"))
    return plain.strip()[:MAX_FILE_NAME_LENGTH] or None
