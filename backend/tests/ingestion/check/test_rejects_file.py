"""Paths of rejects files: allowed ones, refused ones, and the file afterwards."""

# ruff: noqa: ASYNC240 - a test can wait for its own small files

import fcntl
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.csv_files import as_csv, read_rejects, row, write
from tests.support.stored_rows import ids

from app.core.errors import DealsError
from app.db.session import Database
from app.ingestion.columns import NAMES
from app.services.load_reports import LoadMode, LoadProgress
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration

MODES: list[LoadMode] = ["rows", "strict", "dry-run"]
HEADER = ",".join((*NAMES, "line", "column", "code", "message")) + "\n"


def make_device(path: Path, kind: int, major: int, minor: int) -> None:
    """Make a device as in /dev, which only root may do."""
    try:
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
    except PermissionError:
        pytest.skip("only root may make a device")


def make_socket(path: Path) -> None:
    """Leave a socket behind, under a short name: the kernel refuses long paths."""
    working = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(working)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "like /dev/full": (lambda path: make_device(path, stat.S_IFCHR, 1, 7), "is a device"),
    "like /dev/null": (lambda path: make_device(path, stat.S_IFCHR, 1, 3), "is a device"),
    "block device": (lambda path: make_device(path, stat.S_IFBLK, 7, 200), "is a device"),
    "pipe": (os.mkfifo, "is a named pipe"),
    "socket": (make_socket, "is a socket"),
    "folder": (Path.mkdir, "is a folder"),
    "notes": (lambda path: path.write_text("do not lose this"), "not a rejects file"),
    "deals": (lambda path: path.write_text(as_csv([row(7)])), "not a rejects file"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\0\1" * 100), "not a rejects file"),
    "one long line": (lambda path: path.write_text("x" * 200_000), "not a rejects file"),
    "an open quote": (lambda path: path.write_text('"' + HEADER), "not a rejects file"),
    "link to a device": (lambda path: path.symlink_to("/dev/full"), "is a device"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [True, False], ids=["with rejects", "without rejects"])
@pytest.mark.parametrize("kind", KINDS)
async def test_load_with_other_file_at_rejects_path_is_refused_and_keeps_it(
    loading: LoadingService,
    database: Database,
    deals: Path,
    rejects: Path,
    kind: str,
    mode: LoadMode,
    *,
    bad: bool,
) -> None:
    create, message = KINDS[kind]
    create(rejects)
    before = rejects.lstat()
    write(deals, [row(1), row(2, id="x" if bad else "2")])
    with pytest.raises(DealsError, match=message) as refused:
        await loading.load(deals, mode=mode, rejects=rejects)

    assert str(refused.value).startswith(f"{rejects}: ")
    assert os.path.samestat(rejects.lstat(), before)
    assert rejects.lstat().st_size == before.st_size
    assert rejects.lstat().st_rdev == before.st_rdev
    assert sorted(file.name for file in deals.parent.iterdir()) == ["deals.csv", "rejects.csv"]
    assert await ids(database) == []


@pytest.mark.parametrize("there", ["nothing", "empty", "older", "link", "dangling link"])
async def test_load_with_rejects_replaces_older_rejects_file(
    loading: LoadingService, deals: Path, rejects: Path, there: str
) -> None:
    target = rejects
    if "link" in there:
        target = rejects.with_name("target.csv")
        rejects.symlink_to(target)
    if there in {"older", "link"}:
        target.write_text(HEADER + "older\n")
    elif there == "empty":
        target.touch()
    await loading.load(write(deals, [row(1), row(2, id="x")]), rejects=rejects)

    assert read_rejects(rejects) == [(3, "id", "not_an_integer")]
    assert rejects.is_symlink() == ("link" in there)
    assert not list(rejects.parent.glob(".*"))


@pytest.mark.parametrize("there", ["nothing", "empty", "older"])
async def test_load_without_rejects_removes_older_rejects_file_only(
    loading: LoadingService, deals: Path, rejects: Path, there: str
) -> None:
    if there == "older":
        rejects.write_text(HEADER + "older\n")
    elif there == "empty":
        rejects.touch()
    await loading.load(write(deals, [row(1)]), rejects=rejects)

    assert rejects.exists() == (there == "empty")
    assert not list(rejects.parent.glob(".*"))


async def test_load_while_other_file_comes_to_rejects_path_keeps_both(
    loading: LoadingService, deals: Path, rejects: Path
) -> None:
    def write_other_file(_: LoadProgress) -> None:
        rejects.write_text("of another program")

    write(deals, [row(1), row(2, id="x")])
    with pytest.raises(DealsError, match=r"another file.*The rejected rows are in ") as failed:
        await loading.load(deals, rejects=rejects, progress=write_other_file)

    assert rejects.read_text() == "of another program"
    kept = Path(str(failed.value).rpartition(" in ")[2])
    assert read_rejects(kept) == [(3, "id", "not_an_integer")]


async def test_load_with_hard_link_to_its_file_as_rejects_path_is_refused(
    loading: LoadingService, deals: Path, rejects: Path
) -> None:
    write(deals, [row(1), row(2, id="x")])
    rejects.hardlink_to(deals)
    with pytest.raises(DealsError, match="would overwrite the file being loaded"):
        await loading.load(deals, rejects=rejects)


async def test_load_removes_partial_rejects_of_a_killed_load(
    loading: LoadingService, deals: Path, rejects: Path
) -> None:
    abandoned = rejects.with_name(f".{rejects.name}.0badcafe.part")
    abandoned.write_text(HEADER)
    in_use = rejects.with_name(f".{rejects.name}.00c0ffee.part")
    with in_use.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        await loading.load(write(deals, [row(1), row(2, id="x")]), rejects=rejects)

    assert not abandoned.exists()
    assert in_use.exists()
    assert read_rejects(rejects) == [(3, "id", "not_an_integer")]
