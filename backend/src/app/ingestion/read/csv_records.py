"""A file's records by the csv module, of fields far larger than any row needs.

The csv module gives up at 128 KiB a field, and has one limit for the whole process. What is too
long for a row is for the checks to say, and what they have rejected can be read again.
"""

import csv
from collections.abc import Iterable, Iterator

MAX_FIELD_BYTES = 1 << 24
csv.field_size_limit(MAX_FIELD_BYTES)


def csv_records(lines: Iterable[str]) -> Iterator[list[str]]:
    """Each record's fields; the lines are those of a file opened with `newline=""`.

    Raises:
        csv.Error: a field has more than `MAX_FIELD_BYTES` characters.
    """
    return csv.reader(lines)
