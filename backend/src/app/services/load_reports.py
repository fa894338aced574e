"""The progress and the summary of a load. This module avoids imports that are slow to load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.ingestion.check.load_warnings import LoadWarning

LoadMode = Literal["rows", "strict", "dry-run"]


@dataclass(frozen=True)
class LoadProgress:
    """The progress of a load. Bytes are counted in the file on disk, which may be compressed."""

    bytes_read: int
    bytes_total: int
    rows_read: int


@dataclass(frozen=True)
class LoadSummary:
    """The row counts of a load.

    `rows_read` is the sum of `inserted`, `updated`, `unchanged`, `duplicates`, `rejected` and
    `held_back`. `duplicates` counts rows identical to an earlier row with the same id.

    `held_back` counts valid rows that a strict load did not store because another row was rejected.
    In such a load `inserted`, `updated` and `unchanged` are 0. `warnings` counts all rows with a
    warning, including rows that were not loaded.
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
