"""Streaming parser for the single file of a `multipart/form-data` body (RFC 7578).

Starlette's `request.form()` would first write the whole file to a temporary file.
"""

import re
from collections.abc import AsyncIterator

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.core.errors import InvalidInputError

FILE = "file"
# A boundary as in RFC 2046, section 5.1.1, but without spaces.
_BOUNDARY = re.compile(rb"[A-Za-z0-9'()+_,./:=?-]{1,70}")
# Values of Content-Transfer-Encoding that mean "not encoded" (RFC 7578, section 4.7).
_AS_IT_IS = {b"7bit", b"8bit", b"binary"}


class FilePart:
    """The only part of a form, which must have the name `file`.

    Call `open` to read the part's headers, and then `content` to stream its bytes block by block.
    Both methods raise an `InvalidInputError` for a missing file, a second part, a part with another
    name, too many or too long headers, or a missing end boundary. Bytes after the end boundary are
    ignored, as RFC 2046 requires.
    """

    def __init__(self, boundary: bytes | None, body: AsyncIterator[bytes]) -> None:
        if boundary is None or not _BOUNDARY.fullmatch(boundary):
            raise InvalidInputError(
                "The Content-Type of the form has no valid boundary; send one of 1 to 70 characters"
            )
        self.filename: bytes | None = None
        self._body = body
        self._parts = 0
        self._in_content = self._at_end = False
        self._field = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._found: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )

    async def open(self) -> None:
        """Read the part's headers. Set `filename` if the headers contain a file name."""
        async for block in self._body:
            self._parse(block)
            if self._in_content or self._at_end:
                break
        if not self._in_content:
            raise InvalidInputError(f"The form has no part named {FILE!r}")

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the blocks of the file. Raise an `InvalidInputError` if the form is incomplete."""
        for found in self._taken():
            yield found
        async for block in self._body:
            self._parse(block)
            for found in self._taken():
                yield found
        if not self._at_end:
            raise InvalidInputError("The form is cut off: it has no end boundary")

    def _taken(self) -> list[bytes]:
        found, self._found = self._found, []
        return found

    def _parse(self, block: bytes) -> None:
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise InvalidInputError("The body is not a valid multipart form") from error

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise InvalidInputError(f"The form may have one part only, named {FILE!r}")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or options.get(b"name") != FILE.encode():
            raise InvalidInputError(f"The form may have one part only, named {FILE!r}")
        encoding = self._headers.get(b"content-transfer-encoding", b"binary")
        if encoding.strip().lower() not in _AS_IT_IS:
            raise InvalidInputError("The file of the form may not have a transfer encoding")
        self.filename = options.get(b"filename")
        self._in_content = True

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _on_end(self) -> None:
        self._at_end = True
