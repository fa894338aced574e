import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.csv_files import as_csv, row

from app.core.errors import InvalidFileError
from app.ingestion.read import source
from app.ingestion.read.chunks import chunks, inspect
from app.ingestion.read.records import Record, RecordCutter, is_simple
from app.ingestion.read.source import opened

pytestmark = pytest.mark.unit


def cut_records(path: Path, rows: int) -> list[Record]:
    """Return all records of a file, cut by the way that fits each piece."""
    found: list[Record] = []
    with opened(path) as file:
        for piece in RecordCutter(file).pieces(rows):
            if piece.records is None:
                parsed = csv.reader(io.StringIO(piece.text.decode(), newline=""))
                found += [Record(piece.line + i, fields) for i, fields in enumerate(parsed)]
            else:
                found += piece.records
    return found


def csv_module_records(text: str) -> list[Record]:
    reader = csv.reader(io.StringIO(text, newline=""))
    found = []
    line = 1
    for fields in reader:
        if fields:
            found.append(Record(line, fields))
        line = reader.line_num + 1
    return found


SNIPPETS = [
    "a",
    "é",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "x,y\n",
    '"q",\n',
    ',"m\nn"\n',
    "😀",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    text=st.lists(st.sampled_from(SNIPPETS), min_size=1, max_size=40).map("".join),
    rows=st.integers(1, 5),
    block=st.integers(1, 9),
)
@example(text='a"b,"x\ny"\n', rows=1, block=3)
@example(text="a,b\r\n\r\nc\r\n", rows=1, block=4)
def test_record_cutter_matches_csv_module(
    text: str, rows: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode())
    monkeypatch.setattr(source, "BLOCK_BYTES", block)
    if has_closed_quotes(text):
        assert cut_records(path, rows) == csv_module_records(text)
    else:
        with pytest.raises(InvalidFileError, match="is a quote not closed"):
            cut_records(path, rows)


def has_closed_quotes(text: str) -> bool:
    """Return whether the csv module asks for a line after the last only to begin a new record."""
    within_record = closed = False

    def lines() -> Iterator[str]:
        nonlocal within_record, closed
        for line in io.StringIO(text, newline=""):
            within_record = True
            yield line
        closed = not within_record

    for _ in csv.reader(lines()):
        within_record = False
    return closed


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        (b'1,"a,b",c\n2,"a""b",c\r\n3,"",""\n', True),
        (b"1,2,3\n4,5,6", True),
        (b"1,2\n3,4", False),
        (b"1,2,3\n4,5,6,7\n", False),
        (b'1,"2,3"\n4,5,6\n', False),
        (b'1,2,3\n"4,5",6\n', False),
        (b"\xef\xbb\xbf1,2,3\n", False),
        (b'1,"a\nb",2\n', False),
        (b'1,a"b,"x\n', False),
        (b'a"b,c"d\n', False),
        (b"1,2,3\n\n3,4,5\n", False),
        (b"1,2\r3,4\n", False),
        (b"1,\0\n", False),
        (b'"a" ,b\n', False),
    ],
)
def test_is_simple_returns_whether_commas_split_it(text: bytes, *, simple: bool) -> None:
    assert is_simple(text, width=3) is simple


def test_is_simple_without_width_accepts_any() -> None:
    assert is_simple(b'1,2\n3,"4,5",6\n')


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_chunks_report_line_numbers(
    tmp_path: Path, end: str, chunk_rows: int, *, compressed: bool
) -> None:
    path = tmp_path / "deals.csv"
    rows = [row(1), row(2, room_type=f"a{end}b"), row(3), row(4, hotel_city='the "A", city')]
    content = "\ufeff" + as_csv(rows, end=end) + end + "too,few" + end + as_csv([row(5)], end=end)
    path.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    header = inspect(path)
    lines: list[int] = []
    ids: list[str] = []
    misshapen: list[Record] = []
    with opened(path) as file:
        for chunk in chunks(file, header, chunk_rows):
            lines += chunk.lines.tolist()
            ids += chunk.frame[str(header.positions["id"])].tolist()
            misshapen += chunk.misshapen
        assert file.bytes_read == file.bytes_total
    assert dict(zip(ids, lines, strict=True)) == {"1": 2, "2": 3, "3": 5, "4": 6, "id": 9, "5": 10}
    assert misshapen == [Record(8, ["too", "few"])]


@pytest.mark.parametrize(
    "values",
    [
        ["NA", "null", "007", "1.50", " x ", "nan", "True"],
        ["+39", "+49"],
        ["007", "008"],
        ["1.50", "2.00"],
        ["true", "false"],
        ["2027-01-01T00:00:00Z"],
        ["", ""],
        ["1e5", "NaN"],
    ],
)
def test_chunks_keep_text_uninterpreted(tmp_path: Path, values: list[str]) -> None:
    path = tmp_path / "deals.csv"
    path.write_text(as_csv(row(i, room_type=value) for i, value in enumerate(values)))
    header = inspect(path)
    with opened(path) as file:
        (chunk,) = chunks(file, header, 100)
    assert chunk.frame[str(header.positions["room_type"])].tolist() == values
