"""Writing of a rejects file, without overwriting a file that is not a rejects file."""

import csv
import fcntl
import glob
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock
from typing import Self, TextIO

from app.core.errors import DealsError
from app.ingestion.check.rejects import REASONS, Reject, RejectsLayout
from app.ingestion.read.csv_records import csv_records
from app.ingestion.read.header import Header

# The maximum length of a rejects file's header line. A header of 200 columns is shorter.
_MAX_HEADER_CHARACTERS = 1 << 16
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}


def check_rejects_path(path: Path, source: Path) -> None:
    """Check that a rejects file at `path` would not overwrite an unrelated file.

    The path is accepted if it does not exist, is an empty file, or is a file with the header of a
    rejects file. For a symbolic link, the link's target is checked.

    Raises:
        DealsError: the path is unusable. The message gives the reason.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if kind := _KINDS.get(stat.S_IFMT(status.st_mode)):
        raise DealsError(f"{path}: is {kind}; name a file for the rejected rows (--rejects)")
    if source.exists() and path.samefile(source):
        raise DealsError(f"{path}: the rejected rows would overwrite the file being loaded")
    if status.st_size and not _is_rejects_file(path):
        raise DealsError(
            f"{path}: is not a rejects file, so the rejected rows must not replace it; "
            "move it away, or name another file (--rejects)"
        )


def _is_rejects_file(path: Path) -> bool:
    """Return whether the first row ends with the column names in `REASONS`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = iter(lambda: file.readline(_MAX_HEADER_CHARACTERS), "")
            first = next(csv_records(lines), [])
    except OSError as error:
        raise DealsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error):
        return False
    return tuple(first[-len(REASONS) :]) == REASONS


class RejectsFile(AbstractContextManager["RejectsFile"]):
    """A file of rejects in `RejectsLayout`. Without a path, rejects are only counted.

    Rows are written to a temporary file in the same folder. If the `with` block ends without an
    error, the temporary file is renamed to the path. If no row was rejected, an older rejects file
    at the path is removed instead. A file that `check_rejects_path` refuses is never changed.
    """

    def __init__(self, path: Path | None, header: Header, source: Path) -> None:
        self._path = path
        self._source = source
        self._layout = RejectsLayout(header.names)
        self._target: Path | None = None
        self._partial: Path | None = None
        self._file: TextIO | None = None
        self.count = 0
        # Two writers use the file: worker threads write the rejects of new chunks, and the event
        # loop writes the rejects of retried chunks.
        self._one_writer = Lock()

    def __enter__(self) -> Self:
        """Open the file before the load, so that an unwritable path fails at once."""
        if self._path:
            check_rejects_path(self._path, self._source)
            # If the path is a symbolic link, its target is replaced.
            self._target = self._path.resolve()
            self._partial = self._target.with_name(
                f".{self._target.name}.{secrets.token_hex(4)}.part"
            )
            try:
                _remove_abandoned(self._target)
                self._file = _open_locked(self._partial)
            except OSError as error:
                raise _unwritable(self._path, error) from error
            self._write([self._layout.header])
        return self

    def write(self, rejects: Iterable[Reject]) -> None:
        """Append rejects, sorted by line number.

        Raises:
            DealsError: the file cannot be written, for example because the disk is full.
        """
        chosen = list(rejects)
        with self._one_writer:
            self.count += len(chosen)
            self._write(self._layout.rows(chosen))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not (self._file and self._partial and self._path and self._target):
            return
        try:
            self._file.close()
        except OSError as failure:
            self._partial.unlink(missing_ok=True)
            raise _unwritable(self._path, failure) from failure
        if kind is None and self.count:
            self._take_name(self._target, self._partial)
            return
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)
        if kind is None:
            self._remove_older(self._target)

    def _take_name(self, target: Path, partial: Path) -> None:
        """Rename `partial` to `target`, unless an unrelated file was created there meanwhile."""
        try:
            check_rejects_path(target, self._source)
            partial.replace(target)
        except (DealsError, OSError) as failure:
            raise DealsError(f"{failure}. The rejected rows are in {partial}") from failure

    def _remove_older(self, target: Path) -> None:
        check_rejects_path(target, self._source)
        try:
            if target.exists() and target.stat().st_size:
                target.unlink()
        except OSError as failure:
            raise _unwritable(target, failure) from failure

    def _write(self, rows: Iterable[Sequence[str]]) -> None:
        if self._file is None or self._path is None:
            return
        try:
            csv.writer(self._file, lineterminator="\n").writerows(rows)
        except OSError as error:
            raise _unwritable(self._path, error) from error


def _open_locked(partial: Path) -> TextIO:
    """Create a file and lock it, so that another load's `_remove_abandoned` does not remove it."""
    while True:
        file = partial.open("x", encoding="utf-8", newline="")
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_nlink:
            return file
        # Another load has removed the file before it was locked.
        file.close()


def _remove_abandoned(target: Path) -> None:
    """Remove the temporary files of killed loads. A file is abandoned if no process locks it."""
    for partial in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def _unwritable(path: Path, error: OSError) -> DealsError:
    return DealsError(f"{path}: cannot write the rejected rows: {error.strerror or error}")
