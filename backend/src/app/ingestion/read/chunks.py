"""A reader that splits a deals.csv file into chunks of unchecked text columns."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.errors import EmptyDataError, ParserError

from app.ingestion.columns import NAMES
from app.ingestion.read.csv_records import csv_records
from app.ingestion.read.header import Header
from app.ingestion.read.records import Piece, Record, RecordCutter
from app.ingestion.read.source import Source, opened

_INSPECTION_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive unchecked records of a file.

    `frame` has one row for each record with as many fields as the header, and text columns named by
    position ("0", "1", …). Row i of `frame` starts in line `lines[i]` of the file. `misshapen`
    holds the records with more or fewer fields than the header. `bytes_read` is the file position
    after the chunk. `rows_with_surplus` counts the records whose blank fields after the header's
    last column were dropped.
    """

    frame: pd.DataFrame
    lines: NDArray[np.int64]
    misshapen: tuple[Record, ...]
    bytes_read: int
    rows_with_surplus: int = 0

    @property
    def rows(self) -> int:
        """Return the record count, including misshapen records."""
        return len(self.frame) + len(self.misshapen)


def inspect(path: Path) -> Header:
    """Check the whole file before the load, and return its header.

    The inspection decompresses the file and checks its records. It takes about a second for half a
    gigabyte.

    Raises:
        InvalidFileError: the file is invalid. The message says why and where.
    """
    with opened(path) as source:
        cutter = RecordCutter(source)
        header = _header(source, cutter.first_record())
        for _ in cutter.pieces(_INSPECTION_ROWS):
            pass
    return header


def chunks(source: Source, header: Header, rows: int) -> Iterator[Chunk]:
    """Yield the records after the header in chunks of about `rows` records.

    Raises:
        InvalidFileError: the file has changed since its inspection.
    """
    cutter = RecordCutter(source)
    if _header(source, cutter.first_record()) != header:
        raise source.refusal("the file has changed while it was loaded")
    width = len(header.names)
    for piece in cutter.pieces(rows, width):
        yield _chunk(piece, width, source.bytes_read)


def _header(source: Source, record: Record | None) -> Header:
    if record is None:
        raise source.refusal("there is no header: the file has nothing but blank lines")
    names = tuple(name.strip() for name in record.fields)
    if any("\0" in name for name in names):
        raise source.refusal(f"a binary file, not text: NUL in the header, line {record.line}")
    counts = Counter(names)
    missing = [name for name in NAMES if name not in counts]
    repeated = [name for name in NAMES if counts[name] > 1]
    where = f"in the header, line {record.line}"
    if len(missing) == len(NAMES):
        raise source.refusal(
            f"there is no header: line {record.line} names none of the columns {', '.join(NAMES)}"
        )
    if missing:
        raise source.refusal(f"{_columns(missing)} missing {where}")
    if repeated:
        raise source.refusal(f"{_columns(repeated)} repeated {where}")
    return Header(
        names,
        {name: names.index(name) for name in NAMES},
        tuple(name for name in names if name not in NAMES),
    )


def _columns(names: Sequence[str]) -> str:
    noun = "column" if len(names) == 1 else "columns"
    return f"{noun} {', '.join(names)}"


def _chunk(piece: Piece, width: int, bytes_read: int) -> Chunk:
    records = piece.records
    if records is None:
        try:
            frame = _parse_simple(piece.text, width)
        except (ParserError, EmptyDataError):
            # The parser fails, for example, if a record is larger than the parser's blocks.
            records = _parse_lines(piece)
        else:
            lines = np.arange(piece.line, piece.line + len(frame), dtype=np.int64)
            return Chunk(frame, lines, (), bytes_read)
    fitted = [_without_surplus(record, width) for record in records]
    good = [record for record in fitted if len(record.fields) == width]
    lines = np.fromiter((record.line for record in good), np.int64, len(good))
    return Chunk(
        _frame(good, width),
        lines,
        misshapen=tuple(record for record in fitted if len(record.fields) != width),
        bytes_read=bytes_read,
        rows_with_surplus=sum(
            len(after.fields) < len(before.fields)
            for before, after in zip(records, fitted, strict=True)
        ),
    )


def _without_surplus(record: Record, width: int) -> Record:
    """Drop the fields after the header's last column if all of these fields are blank.

    Some programs write a comma at the end of each line, and spreadsheets may write several.
    """
    if len(record.fields) <= width or any(field.strip() for field in record.fields[width:]):
        return record
    return Record(record.line, record.fields[:width])


def _frame(records: Sequence[Record], width: int) -> pd.DataFrame:
    fields = [record.fields for record in records]
    columns = zip(*fields, strict=True) if fields else ((),) * width
    return pd.DataFrame(
        {
            name: pd.Series(column, dtype="str")
            for name, column in zip(_positions(width), columns, strict=True)
        }
    )


def _parse_simple(text: bytes, width: int) -> pd.DataFrame:
    """Parse simple CSV text with pandas' fastest engine.

    All fields stay text. For example, "NA" does not become a missing value.
    """
    return pd.read_csv(
        io.BytesIO(text),
        engine="pyarrow",
        header=None,
        names=_positions(width),
        # Give all columns one type. With a type per column, pandas would first guess types and then
        # convert the values, because the text has no header.
        dtype="str",
        keep_default_na=False,
        skip_blank_lines=False,
    )


def _parse_lines(piece: Piece) -> list[Record]:
    found = csv_records(io.StringIO(piece.text.decode(), newline=""))
    return [Record(piece.line + number, fields) for number, fields in enumerate(found)]


def _positions(width: int) -> list[str]:
    return [str(position) for position in range(width)]
