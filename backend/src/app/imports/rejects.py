"""The rows a load left out, as they came, with where and why."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Self, TextIO

from app.errors import DealsError
from app.imports.fields import csv_records
from app.imports.header import Header
from app.imports.rules import Problem

REASONS = ("line", "column", "code", "message")


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not loaded: the line it starts in, its first problem, its fields."""

    line: int
    column: str
    problem: Problem
    fields: Sequence[str]


class RejectsLayout:
    """A CSV beside which nothing else is needed to mend the rows and load them again.

    It has the file's columns and then `line`, `column`, `code` and `message`; columns of these
    names in the file (it was a rejects file itself) give way.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._kept = [i for i, name in enumerate(names) if name not in REASONS]

    @property
    def header(self) -> list[str]:
        """The first row."""
        return [*(self._names[i] for i in self._kept), *REASONS]

    def rows(self, rejects: Iterable[Reject]) -> Iterator[list[str]]:
        """A row for each, in order of their lines."""
        for reject in sorted(rejects, key=lambda reject: reject.line):
            problem = reject.problem
            reasons = (str(reject.line), reject.column, problem.code, problem.message)
            yield [*self._fitted(reject.fields), *reasons]

    def _fitted(self, fields: Sequence[str]) -> list[str]:
        """As many fields as there are columns: absent ones empty, surplus ones in the last."""
        width = len(self._names)
        fitted = [*fields[: width - 1], ",".join(fields[width - 1 :])]
        fitted += [""] * (width - len(fitted))
        return [fitted[i] for i in self._kept]


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """The rows as lines of a rejects file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def first_rows(content: bytes, most: int) -> list[list[str]]:
    """The first of whole lines of a rejects file, the reasons before the fields."""
    rows = islice(csv_records(io.StringIO(content.decode(), newline="")), most)
    return [[*row[-len(REASONS) :], *row[: -len(REASONS)]] for row in rows]


class RejectsFile(AbstractContextManager["RejectsFile"]):
    """Rejects on disk, in `RejectsLayout`.

    It is written under another name and takes its own when the block ends well: with no rejects,
    an older file of the name goes.
    """

    def __init__(self, path: Path | None, header: Header) -> None:
        self._path = path
        self._layout = RejectsLayout(header.names)
        self._partial = path.with_name(f"{path.name}.part") if path else None
        self._file: TextIO | None = None
        self.count = 0
        # Chunks are decided in threads, and a chunk that lost a race once more on the loop.
        self._one_writer = Lock()

    def __enter__(self) -> Self:
        """Open it now: that it cannot be written shall not be learnt after an hour's load."""
        if self._partial:
            try:
                self._file = self._partial.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise _unwritable(self._partial, error) from error
            self._write([self._layout.header])
        return self

    def write(self, rejects: Iterable[Reject]) -> None:
        """Append rejects, in order of their lines.

        Raises:
            DealsError: the disk is full, say.
        """
        chosen = list(rejects)
        with self._one_writer:
            self.count += len(chosen)
            self._write(self._layout.rows(chosen))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not (self._file and self._partial and self._path):
            return
        try:
            self._file.close()
            if kind is None and self.count:
                self._partial.replace(self._path)
            elif kind is None:
                self._path.unlink(missing_ok=True)
        except OSError as failure:
            raise _unwritable(self._path, failure) from failure
        finally:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)

    def _write(self, rows: Iterable[Sequence[str]]) -> None:
        if self._file is None or self._path is None:
            return
        try:
            csv.writer(self._file, lineterminator="\n").writerows(rows)
        except OSError as error:
            raise _unwritable(self._path, error) from error


def _unwritable(path: Path, error: OSError) -> DealsError:
    return DealsError(f"{path}: cannot write the rejected rows: {error.strerror or error}")
