"""Rows with valid fields, before they are checked for conflicts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.ingestion import arrow_text
from app.ingestion.arrow_text import Texts
from app.ingestion.check.rejects import Reject
from app.ingestion.read.chunks import Chunk
from app.ingestion.rules import RejectReason

# A column's name, and the reason for rejecting the column's field.
ColumnReason = tuple[str, RejectReason]


@dataclass(frozen=True, order=True, slots=True)
class Hotel:
    """The hotel of a row. Hotels are ordered by phone, because they are inserted in that order."""

    phone: str
    name: str
    city: str
    country: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return the name, city and country, which are unique together."""
        return (self.name, self.city, self.country)


@dataclass(frozen=True, slots=True)
class ValidatedChunk:
    """The valid rows of a chunk in file order, and the rejected rows.

    Valid row i is at index `rows[i]` in `chunk.frame`. It has the id `ids[i]`, the hotel
    `hotels[hotel[i]]` and the categories `category_sets[category_set[i]]`. `deals[i]` holds the
    deal's columns as tab-separated text for COPY. `hashes[i]` is the hash of the row's whole
    content.
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
        """Return a copy with only the valid rows at these indices, and without rejects."""
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
        """Return the hotels of the valid rows. `hotels` may contain others."""
        return [self.hotels[index] for index in np.unique(self.hotel)]

    def used_categories(self) -> set[str]:
        """Return the categories of the valid rows. `category_sets` may contain others."""
        used = np.unique(self.category_set)
        return {name for index in used for name in self.category_sets[index]}

    def rejected(self, reasons: Mapping[int, ColumnReason]) -> list[Reject]:
        """Return rejects for conflicting rows. `reasons` maps indices of valid rows to reasons."""
        return rejects_of(self.chunk, {int(self.rows[row]): why for row, why in reasons.items()})


def rejects_of(chunk: Chunk, reasons: Mapping[int, ColumnReason]) -> list[Reject]:
    """Return rejects for rows of `chunk.frame`. `reasons` maps row indices to reasons."""
    places = list(reasons)
    fields = chunk.frame.iloc[places].to_numpy().tolist()
    return [
        Reject(int(chunk.lines[place]), *reasons[place], row)
        for place, row in zip(places, fields, strict=True)
    ]
