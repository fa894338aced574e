"""The rows a load left out, as they came, with where and why."""

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
    """A record that was not loaded: the line it starts in, its first problem, its fields."""

    line: int
    column: str
    problem: RejectReason
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
