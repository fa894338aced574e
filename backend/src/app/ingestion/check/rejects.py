"""Rejects: rows that a load did not store, with their original fields, line numbers and reasons."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from app.ingestion.read.csv_records import csv_records
from app.ingestion.rules import RejectReason

REASONS = ("line", "column", "code", "message")


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected record, its first problem, and the line number at which it starts."""

    line: int
    column: str
    problem: RejectReason
    fields: Sequence[str]


class RejectsLayout:
    """The CSV format of a rejects file. An operator can correct the file and load it.

    A rejects file has the columns of the loaded file, followed by `line`, `column`, `code` and
    `message`. If the loaded file already has columns with these four names, as a rejects file does,
    these columns are replaced.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._kept = [i for i, name in enumerate(names) if name not in REASONS]

    @property
    def header(self) -> list[str]:
        """Return the column names of the rejects file."""
        return [*(self._names[i] for i in self._kept), *REASONS]

    def rows(self, rejects: Iterable[Reject]) -> Iterator[list[str]]:
        """Yield a row for each reject, sorted by line number."""
        for reject in sorted(rejects, key=lambda reject: reject.line):
            problem = reject.problem
            reasons = (str(reject.line), reject.column, problem.code, problem.message)
            yield [*self._fitted(reject.fields), *reasons]

    def _fitted(self, fields: Sequence[str]) -> list[str]:
        """Fit fields to the columns: add empty fields, or join surplus fields with the last one."""
        width = len(self._names)
        fitted = [*fields[: width - 1], ",".join(fields[width - 1 :])]
        fitted += [""] * (width - len(fitted))
        return [fitted[i] for i in self._kept]


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Encode rows as CSV in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def first_rows(content: bytes, most: int) -> list[list[str]]:
    """Parse up to `most` rows of a rejects file, and put the reasons first in each row.

    `content` must consist of complete lines.
    """
    rows = islice(csv_records(io.StringIO(content.decode(), newline="")), most)
    return [[*row[-len(REASONS) :], *row[: -len(REASONS)]] for row in rows]
