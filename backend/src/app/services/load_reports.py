"""What is said of a load, without what it takes to do one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.ingestion.check.load_warnings import LoadWarning

LoadMode = Literal["rows", "strict", "dry-run"]


@dataclass(frozen=True)
class LoadProgress:
    """How far a load is; bytes are those of the file on disk, compressed as it may be."""

    bytes_read: int
    bytes_total: int
    rows_read: int


@dataclass(frozen=True)
class LoadSummary:
    """What a load did with each row it read.

    `rows_read` is the sum of `inserted`, `updated`, `unchanged`, `duplicates` (identical rows with
    an id the file has had before), `rejected` and `held_back` (good rows that a strict load did
    not store, because another row was rejected; then the first three are 0). `warnings` count
    rows that were read with something odd about them, whatever became of them.
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
