"""A CSV reader that accepts large fields.

The csv module's default limit is 128 KiB per field. With the higher limit, the checks can report an
overlong field, and a rejects file with such a field can be read. The limit applies to the whole
process.
"""

import csv
from collections.abc import Iterable, Iterator

MAX_FIELD_BYTES = 1 << 24
csv.field_size_limit(MAX_FIELD_BYTES)


def csv_records(lines: Iterable[str]) -> Iterator[list[str]]:
    """Return an iterator over the fields of each record.

    The lines must come from a file opened with `newline=""`.

    Raises:
        csv.Error: a field has more than `MAX_FIELD_BYTES` characters.
    """
    return csv.reader(lines)
