"""The header of a deals.csv, which maps its fields to columns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file.

    `names` are the trimmed names of all columns. `positions` maps the 15 known columns to their
    positions. `ignored` are the names of the others.
    """

    names: tuple[str, ...]
    positions: dict[str, int]
    ignored: tuple[str, ...]
