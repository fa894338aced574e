"""A source that reads a file, decompresses gzip data and checks that the text is UTF-8."""

import codecs
import gzip
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from app.core.errors import InvalidFileError

BLOCK_BYTES = 1 << 19
# The maximum ratio of decompressed to compressed size. Files of deals stay below this ratio, while
# a decompression bomb has a ratio of 1,000. Text of up to EXPANSION_FREE bytes is always accepted.
EXPANSION = 100
EXPANSION_FREE = 1 << 28
_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Source:
    """A reader that decompresses a file and checks that it is UTF-8, block by block.

    Error messages give positions in the decompressed text, so that users can find them in an
    editor.
    """

    def __init__(self, path: Path, raw: BufferedReader, total: int) -> None:
        self.path = path
        self.bytes_total = total
        self._raw = raw
        is_gzip = raw.peek(2)[:2] == _GZIP
        self._stream = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset = 0
        self._line = 1

    @property
    def bytes_read(self) -> int:
        """Return how many bytes of the file, which may be compressed, have been read from disk."""
        return min(self._raw.tell(), self.bytes_total)

    def read(self) -> bytes:
        """Return the next block, or no bytes at the end of the file.

        Raises:
            InvalidFileError: the gzip data is damaged, the text is not UTF-8, or a read failed.
        """
        try:
            block = self._stream.read(BLOCK_BYTES)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise self.refusal(f"the gzip data is damaged or cut off ({error})") from error
        except OSError as error:
            raise self.refusal(f"cannot be read: {error.strerror or error}") from error
        self._check(block)
        return block

    def refusal(self, reason: str) -> InvalidFileError:
        """Return an error whose message starts with the path of the file."""
        return InvalidFileError(f"{self.path}: {reason}")

    def _check(self, block: bytes) -> None:
        if self._offset == 0 and block.startswith(_UTF16):
            raise self.refusal("the file is UTF-16, not UTF-8; save it as UTF-8")
        pending = self._decoder.getstate()[0]
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            bad = error.start - len(pending)
            line = self._line + block[: max(bad, 0)].count(b"\n")
            byte = (pending + block)[error.start]
            raise self.refusal(
                f"not UTF-8: byte 0x{byte:02x} at offset {self._offset + bad}, line {line}"
            ) from error
        self._offset += len(block)
        if self._offset > max(EXPANSION_FREE, EXPANSION * self.bytes_read):
            raise self.refusal(f"the gzip data is more than {EXPANSION} times as large as the file")
        self._line += block.count(b"\n")


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open the file at `path`. A load reads the file twice, so it must be a regular file.

    Raises:
        InvalidFileError: the file is missing, unreadable, empty, or not a regular file.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InvalidFileError(f"{path}: is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise InvalidFileError(f"{path}: is not a regular file")
        raw = path.open("rb")
    except FileNotFoundError as error:
        raise InvalidFileError(f"{path}: no such file") from error
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be opened: {error.strerror or error}") from error
    with raw:
        if status.st_size == 0:
            raise InvalidFileError(f"{path}: the file is empty")
        yield Source(path, raw, status.st_size)
