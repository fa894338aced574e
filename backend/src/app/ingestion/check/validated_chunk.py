"""Rows that passed their columns' checks, on their way to being decided on and stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.ingestion import arrow_text
from app.ingestion.arrow_text import Texts
from app.ingestion.check.rejects import Reject
from app.ingestion.read.chunks import Chunk
from app.ingestion.rules import RejectReason

# The column at fault and what is wrong with it.
ColumnReason = tuple[str, RejectReason]


@dataclass(frozen=True, order=True, slots=True)
class Hotel:
    """What a row says of its hotel; ordered by phone, the order in which hotels are inserted."""

    phone: str
    name: str
    city: str
    country: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """What no two hotels share, besides the phone."""
        return (self.name, self.city, self.country)


@dataclass(frozen=True, slots=True)
class ValidatedChunk:
    """The rows of a chunk whose every column is right, in the file's order, and the other rows.

    Per row i: `ids[i]`, `hashes[i]` (of all that the row says), `deals[i]` (the columns of a deal
    as text for COPY, tab-separated: see `staging`), `hotels[hotel[i]]`,
    `category_sets[category_set[i]]`, and `rows[i]`, its place in `chunk.frame`.
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
        """Some of the rows, by their indices; nothing is rejected in the result."""
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
        """The hotels that some row names."""
        return [self.hotels[index] for index in np.unique(self.hotel)]

    def used_categories(self) -> set[str]:
        """The categories that some row has."""
        used = np.unique(self.category_set)
        return {name for index in used for name in self.category_sets[index]}

    def rejected(self, reasons: Mapping[int, ColumnReason]) -> list[Reject]:
        """Rejects of good rows, for what other rows or the database hold against them."""
        return rejects_of(self.chunk, {int(self.rows[row]): why for row, why in reasons.items()})


def rejects_of(chunk: Chunk, reasons: Mapping[int, ColumnReason]) -> list[Reject]:
    """The rows at the given places of a chunk, as they came, with the reason of each."""
    places = list(reasons)
    fields = chunk.frame.iloc[places].to_numpy().tolist()
    return [
        Reject(int(chunk.lines[place]), *reasons[place], row)
        for place, row in zip(places, fields, strict=True)
    ]
