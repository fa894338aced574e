"""Rows that passed the checks of their columns and wait for the decision on conflicts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.ingestion import arrow_text
from app.ingestion.arrow_text import Texts
from app.ingestion.check.rejects import Reject
from app.ingestion.read.chunks import Chunk
from app.ingestion.rules import RejectReason

# The name of the invalid column, and the reason.
ColumnReason = tuple[str, RejectReason]


@dataclass(frozen=True, order=True, slots=True)
class Hotel:
    """The hotel of a row. Hotels are sorted by phone, the order in which they are inserted."""

    phone: str
    name: str
    city: str
    country: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return the columns that are unique together, besides the phone."""
        return (self.name, self.city, self.country)


@dataclass(frozen=True, slots=True)
class ValidatedChunk:
    """The valid rows of a chunk, in the file's order, and the rejects.

    Row i consists of `ids[i]`, `hashes[i]` (of all its content), `deals[i]` (the columns of a deal
    as tab-separated text for COPY, see `staging`), `hotels[hotel[i]]`,
    `category_sets[category_set[i]]`, and `rows[i]`, its index in `chunk.frame`.
    """

    chunk: Chunk
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    deals: Texts
    hotels: list[Hotel]
    hotel: NDArray[np.int64]
    category_sets: list[tuple[str, ...]]
    category_set: NDArray[np.int64]
    rejects: list[Reject]

    def only(self, chosen: NDArray[np.int64]) -> "ValidatedChunk":
        """Return a chunk of the rows at the given indices, without rejects."""
        return replace(
            self,
            rows=self.rows[chosen],
            ids=self.ids[chosen],
            hashes=self.hashes[chosen],
            deals=arrow_text.pick(self.deals, chosen),
            hotel=self.hotel[chosen],
            category_set=self.category_set[chosen],
            rejects=[],
        )

    def used_hotels(self) -> list[Hotel]:
        """Return the hotels of the rows."""
        return [self.hotels[index] for index in np.unique(self.hotel)]

    def used_categories(self) -> set[str]:
        """Return the categories of the rows."""
        used = np.unique(self.category_set)
        return {name for index in used for name in self.category_sets[index]}

    def rejected(self, reasons: Mapping[int, ColumnReason]) -> list[Reject]:
        """Return rejects for valid rows that conflict with other rows or the database."""
        return rejects_of(self.chunk, {int(self.rows[row]): why for row, why in reasons.items()})


def rejects_of(chunk: Chunk, reasons: Mapping[int, ColumnReason]) -> list[Reject]:
    """Return the unchanged rows at the given indices of a chunk as rejects with their reasons."""
    places = list(reasons)
    fields = chunk.frame.iloc[places].to_numpy().tolist()
    return [
        Reject(int(chunk.lines[place]), *reasons[place], row)
        for place, row in zip(places, fields, strict=True)
    ]
