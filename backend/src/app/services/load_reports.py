"""Progress and summary of a load, in a module without heavy imports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.ingestion.check.load_warnings import LoadWarning

LoadMode = Literal["rows", "strict", "dry-run"]


@dataclass(frozen=True)
class LoadProgress:
    """The progress of a load. Bytes refer to the file on disk, which may be compressed."""

    bytes_read: int
    bytes_total: int
    rows_read: int


@dataclass(frozen=True)
class LoadSummary:
    """The counts of a load.

    `rows_read` is the sum of `inserted`, `updated`, `unchanged`, `duplicates` (rows that are
    identical to an earlier row with the same id), `rejected` and `held_back`. The last counts valid
    rows that a strict load did not store because another row was rejected. `inserted`, `updated`
    and `unchanged` are then 0. `warnings` count rows by warning, whether they are loaded or not.
    """

    rows_read: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    ignored_columns: tuple[str, ...]
    rejects_file: Path | None
    seconds: float
    held_back: int = 0
    warnings: Sequence[LoadWarning] = ()
