"""The first record of a deals.csv: what the others are read, and written again, by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """Which field of a record is which column.

    `names` are all the file's columns, trimmed; `positions` where the 15 are; `ignored` the rest.
    """

    names: tuple[str, ...]
    positions: dict[str, int]
    ignored: tuple[str, ...]
