import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.csv_files import as_csv, row

from app.core.errors import InvalidFileError
from app.ingestion.columns import NAMES
from app.ingestion.read import source
from app.ingestion.read.chunks import inspect

pytestmark = pytest.mark.unit

GOOD = as_csv([row(1), row(2)])
LONG = as_csv(row(number) for number in range(1, 20_000))
HEADER = ",".join(NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\r\n\n", "there is no header: the file has nothing but blank lines"),
        (GOOD.partition("\n")[2].encode(), "there is no header: line 1 names none of the columns"),
        (b"\0\1\2\3" * 100, "a binary file, not text: NUL in the header, line 1"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8: byte 0x89 at offset 0, line 1"),
        (GOOD.encode("utf-16"), "the file is UTF-16, not UTF-8; save it as UTF-8"),
        (GOOD.encode() + b"x\xff", f"not UTF-8: byte 0xff at offset {len(GOOD) + 1}, line 4"),
        (GOOD.encode() + "é".encode()[:1], f"byte 0xc3 at offset {len(GOOD)}, line 4"),
        (LONG.encode() + b"\xfc", f"byte 0xfc at offset {len(LONG)}, line 20001"),
        (GOOD.replace("hotel_city", "town", 1).encode(), "column hotel_city missing in the header"),
        (b"id,id,categories\n", "columns hotel_name, hotel_city"),
        (f"{HEADER},id\n".encode(), "column id repeated in the header, line 1"),
        (
            GOOD.encode() + b'7,"never closed,x\n1\n',
            "the record that starts in line 4 does not end",
        ),
        (LONG.encode() + b'7,"never\n' + b"x\n" * 200_000, "starts in line 20001 does not end"),
        (gzip.compress(LONG.encode())[:-9], "the gzip data is damaged or cut off"),
        (gzip.compress(LONG.encode())[:-8] + b"12345678", "the gzip data is damaged or cut off"),
        (gzip.compress(b"", mtime=0), "there is no header"),
        (gzip.compress(b"\xff\xff", mtime=0), "not UTF-8: byte 0xff at offset 0, line 1"),
    ],
)
def test_inspect_invalid_file_raises_error_with_location(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "deals.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError) as refused:
        inspect(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "no such file"),
        (Path.mkdir, "is a folder, not a file"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_inspect_other_than_regular_file_raises_error(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "deals.csv"
    make(path)
    with pytest.raises(InvalidFileError, match=message):
        inspect(path)


def test_inspect_reordered_header_with_extras_finds_columns(tmp_path: Path) -> None:
    names = [*reversed(NAMES), "note", ""]
    path = tmp_path / "deals.csv"
    path.write_text("\n" + ", ".join(names) + ",\n")
    header = inspect(path)
    assert header.positions == {name: names.index(name) for name in NAMES}
    assert header.ignored == ("note", "", "")


def test_inspect_gzip_bomb_raises_before_full_decompression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check stops before the end of the archive, whatever content follows."""
    monkeypatch.setattr(source, "EXPANSION_FREE", 1 << 20)
    path = tmp_path / "deals.csv.gz"
    row_of_file = GOOD.splitlines()[1] + "\n"
    path.write_bytes(gzip.compress((GOOD + row_of_file * 400_000).encode())[:-100])

    with pytest.raises(InvalidFileError, match="more than 100 times as large as the file"):
        inspect(path)

    # A file that only repeats itself may be loaded.
    path.write_bytes(gzip.compress((GOOD + row_of_file * 5_000).encode()))
    inspect(path)
