"""A cutter that splits a file into pieces of CSV records and keeps their line numbers.

Most pieces are *simple*: each record is one line, has as many fields as the header, and has quotes
only at the ends of fields. A few numpy operations find out whether a piece is simple. A fast parser
parses simple pieces. The csv module, which defines the correct result, parses all other pieces
record by record. Such a piece contains a record with another field count, a line break inside
quotes, a stray quote, a blank line, NUL, a lone CR or a second byte order mark.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ingestion.read.csv_records import MAX_FIELD_BYTES, csv_records
from app.ingestion.read.source import Source

# The maximum size of a piece, which limits the memory that a piece needs.
MAX_PIECE_BYTES = MAX_FIELD_BYTES
_LF, _CR, _QUOTE, _COMMA = b'\n\r",'

_Bytes = NDArray[np.uint8]
_Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of one record, and the number of its first line, counted from 1."""

    line: int
    fields: list[str]


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records, starting at line `line`.

    If the piece is simple, as the module docstring defines it, `text` contains the raw records and
    `records` is None. Otherwise `records` contains the parsed records.
    """

    line: int
    text: bytes
    records: list[Record] | None


class RecordCutter:
    """A cutter that splits a source into pieces with a given record count."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._line = 1
        self._at_end = False
        self._more()
        self._buffer = self._buffer.removeprefix(codecs.BOM_UTF8)

    def first_record(self) -> Record | None:
        """Return the first record, or None if the file has only blank lines.

        Raises:
            InvalidFileError: a quote in the header is never closed, or the source cannot be read.
        """
        while self._buffer:
            if records := self._careful(1).records:
                return records[0]
            if not self._buffer:
                self._more()
        return None

    def pieces(self, rows: int, width: int | None = None) -> Iterator[Piece]:
        """Yield the remaining records in pieces of up to `rows` records.

        If `width` is given, a piece is simple only if each record has that many fields.

        Raises:
            InvalidFileError: a quote is never closed, or the source cannot be read.
        """
        while piece := self._next(rows, width):
            yield piece

    def _next(self, rows: int, width: int | None) -> Piece | None:
        newlines = self._buffer.count(b"\n")
        while newlines < rows and len(self._buffer) < MAX_PIECE_BYTES and not self._at_end:
            newlines += self._more()
        if not self._buffer:
            return None
        end = len(self._buffer) if self._at_end and newlines < rows else self._line_end(rows)
        text = self._buffer[:end]
        if not text or not is_simple(text, width):
            return self._careful(rows)
        piece = Piece(self._line, text, None)
        self._advance(end, text.count(b"\n"))
        return piece

    def _line_end(self, rows: int) -> int:
        """Return the buffer position after `rows` lines, or after the last complete line."""
        ends = np.flatnonzero(np.frombuffer(self._buffer, np.uint8) == _LF)
        return int(ends[min(rows, len(ends)) - 1]) + 1 if len(ends) else 0

    def _careful(self, rows: int) -> Piece:
        """Parse the next piece with the csv module."""
        while True:
            text, _ = codecs.utf_8_decode(self._buffer, "strict", False)  # noqa: FBT003
            lines = _Lines(text, may_end=self._at_end)
            records = self._read_records(lines, rows)
            if lines.taken or self._at_end:
                break
            if len(self._buffer) > MAX_PIECE_BYTES:
                raise self._endless(self._line)
            self._more()
        piece = Piece(self._line, b"", records)
        self._advance(len(text[: lines.taken].encode()), lines.count)
        return piece

    def _read_records(self, lines: "_Lines", rows: int) -> list[Record]:
        records: list[Record] = []
        reader = csv_records(lines)
        while len(records) < rows:
            start = (lines.taken, lines.count)
            line = self._line + lines.count
            try:
                fields = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                # A non-strict csv reader raises an error only if a field exceeds the size limit.
                raise self._endless(line) from error
            if lines.starved:
                if self._at_end:
                    raise self._endless(line)
                lines.taken, lines.count = start
                break
            if fields:
                records.append(Record(line, fields))
        return records

    def _more(self) -> int:
        """Append a block to the buffer and return the block's newline count.

        A block never ends between CR and LF.
        """
        block = self._source.read()
        while block.endswith(b"\r") and (following := self._source.read()):
            block += following
        self._at_end = not block
        self._buffer += block
        return block.count(b"\n")

    def _advance(self, size: int, lines: int) -> None:
        self._buffer = self._buffer[size:]
        self._line += lines

    def _endless(self, line: int) -> Exception:
        return self._source.refusal(
            f"the record that starts in line {line} does not end: is a quote not closed?"
        )


class _Lines:
    """An iterator over the complete lines of a buffer. Lines end with LF, CR LF or CR.

    `taken` counts the characters read so far, and `count` counts the lines. `starved` is True after
    the csv reader has asked for a line beyond the last complete one. The csv reader's current
    record is then incomplete.
    """

    def __init__(self, text: str, *, may_end: bool) -> None:
        self._lines = io.StringIO(text, newline="")
        self._may_end = may_end
        self.taken = 0
        self.count = 0
        self.starved = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._lines.readline()
        if not line or not (self._may_end or line.endswith(("\n", "\r"))):
            self.starved = True
            raise StopIteration
        self.taken += len(line)
        self.count += 1
        return line


def is_simple(text: bytes, width: int | None = None) -> bool:
    """Return whether each line of `text` is one record that all CSV parsers read alike.

    If `width` is given, each record must have that many fields. Quotes must come in pairs: the
    first at the start of a field, and the second at the end of a field in the same line. Within a
    quoted field, a quote is written as two adjacent quotes.
    """
    if b"\0" in text or text.count(b"\r") != text.count(b"\r\n"):
        return False
    if text.startswith((b"\n", b"\r\n")) or b"\n\n" in text or b"\n\r\n" in text:
        return False
    # The fast parser would drop a byte order mark at the start of its input.
    if text.startswith(codecs.BOM_UTF8):
        return False
    if b'"' not in text and width is None:
        return True
    characters = np.frombuffer(b"\n" + text + (b"" if text.endswith(b"\n") else b"\n"), np.uint8)
    ends = np.flatnonzero(characters == _LF)
    quotes = np.flatnonzero(characters == _QUOTE)
    if not _are_well_placed(characters, quotes, ends):
        return False
    return width is None or bool((_widths(characters, quotes, ends) == width).all())


def _are_well_placed(characters: _Bytes, quotes: _Places, ends: _Places) -> bool:
    """Return whether the quotes form pairs at the ends of fields, each pair within one line."""
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    return bool(
        np.isin(characters[opening - 1], (_LF, _COMMA, _QUOTE)).all()
        and np.isin(characters[closing + 1], (_LF, _CR, _COMMA, _QUOTE)).all()
        and (np.searchsorted(ends, opening) == np.searchsorted(ends, closing)).all()
    )


def _widths(characters: _Bytes, quotes: _Places, ends: _Places) -> NDArray[np.int64]:
    """Return the field count of each line. The quotes must be well placed."""
    commas = np.flatnonzero(characters == _COMMA)
    separators = np.diff(np.searchsorted(commas, ends))
    before_opening, before_closing = np.searchsorted(commas, quotes).reshape(-1, 2).T
    line = np.searchsorted(ends, quotes[::2]) - 1
    quoted = np.bincount(line, weights=before_closing - before_opening, minlength=len(separators))
    return separators - quoted.astype(np.int64) + 1
