"""The header of a deals.csv file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file.

    `names` holds the trimmed names of all columns. `positions` maps the names of the 15 known
    columns to their positions. `ignored` holds the names of all other columns.
    """

    names: tuple[str, ...]
    positions: dict[str, int]
    ignored: tuple[str, ...]
