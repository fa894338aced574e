"""Rejects: the rows that a load did not store, unchanged, with line and reason."""

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
    """A record that was not loaded, with the line in which it starts and its first problem."""

    line: int
    column: str
    problem: RejectReason
    fields: Sequence[str]


class RejectsLayout:
    """The CSV format of a rejects file, which can be corrected and loaded again.

    It has the file's columns, followed by `line`, `column`, `code` and `message`. If the loaded
    file is itself a rejects file, its columns of these names are replaced.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._kept = [i for i, name in enumerate(names) if name not in REASONS]

    @property
    def header(self) -> list[str]:
        """Return the header row."""
        return [*(self._names[i] for i in self._kept), *REASONS]

    def rows(self, rejects: Iterable[Reject]) -> Iterator[list[str]]:
        """Yield a row for each reject, in order of their lines."""
        for reject in sorted(rejects, key=lambda reject: reject.line):
            problem = reject.problem
            reasons = (str(reject.line), reject.column, problem.code, problem.message)
            yield [*self._fitted(reject.fields), *reasons]

    def _fitted(self, fields: Sequence[str]) -> list[str]:
        """Fit the fields to the columns: missing ones become empty, surplus ones join the last."""
        width = len(self._names)
        fitted = [*fields[: width - 1], ",".join(fields[width - 1 :])]
        fitted += [""] * (width - len(fitted))
        return [fitted[i] for i in self._kept]


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows as lines of a rejects file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def first_rows(content: bytes, most: int) -> list[list[str]]:
    """Return up to `most` rows of complete lines of a rejects file, with the reasons first."""
    rows = islice(csv_records(io.StringIO(content.decode(), newline="")), most)
    return [[*row[-len(REASONS) :], *row[: -len(REASONS)]] for row in rows]
