"""The check of valid rows for conflicts with earlier rows and with stored hotels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ingestion import columns
from app.ingestion.check.rejects import Reject
from app.ingestion.check.validated_chunk import ColumnReason, Hotel, ValidatedChunk
from app.ingestion.rules import RejectReason

DUPLICATE_ID = RejectReason("duplicate_id", "another row has the same id but different content")
PHONE_CONFLICT = RejectReason(
    "phone_identity_conflict", "this phone belongs to a hotel of another name, city or country"
)
HOTEL_CONFLICT = RejectReason(
    "hotel_phone_conflict", "the hotel of this name, city and country has another phone"
)


@dataclass(slots=True)
class KnownHotels:
    """Hotels that are stored or claimed by earlier rows. `ids` holds only stored hotels."""

    by_phone: dict[str, Hotel]
    by_identity: dict[tuple[str, str, str], Hotel]
    ids: dict[Hotel, int]

    @classmethod
    def stored(cls, ids: Mapping[Hotel, int]) -> "KnownHotels":
        """Return the stored hotels as `KnownHotels`. `ids` maps each hotel to its id."""
        return cls(
            {hotel.phone: hotel for hotel in ids},
            {hotel.identity: hotel for hotel in ids},
            dict(ids),
        )

    def conflict(self, hotel: Hotel) -> ColumnReason | None:
        """Return the reason why `hotel` conflicts with a known hotel, or None if it does not."""
        if self.by_phone.get(hotel.phone, hotel) != hotel:
            return columns.HOTEL_PHONE, PHONE_CONFLICT
        if self.by_identity.get(hotel.identity, hotel) != hotel:
            return columns.HOTEL_PHONE, HOTEL_CONFLICT
        return None

    def claim(self, hotel: Hotel) -> None:
        """Add `hotel` to the known hotels, by its phone and by its identity."""
        self.by_phone[hotel.phone] = hotel
        self.by_identity[hotel.identity] = hotel


@dataclass(frozen=True, slots=True)
class Decision:
    """The indices of the accepted rows, the count of duplicate rows, and the rejected rows."""

    accepted: NDArray[np.int64]
    duplicates: int
    rejects: list[Reject]


def decide(checked: ValidatedChunk, known: KnownHotels, seen: Mapping[int, int]) -> Decision:
    """Decide which rows to store.

    The result is the same as if the rows were decided one by one. An accepted row claims its id,
    and the phone and identity of its hotel. A rejected row claims nothing. `seen` contains those
    ids of this chunk that earlier chunks have claimed. `seen` maps each id to the hash of the row
    that claimed it.
    """
    repeats = len(np.unique(checked.ids)) != len(checked.ids)
    if seen or repeats or _quarrel(checked.used_hotels(), known):
        return _one_by_one(checked, known, seen)
    conflicts = [known.conflict(hotel) for hotel in checked.hotels]
    good = np.array([conflict is None for conflict in conflicts], dtype=bool)
    accepted = good[checked.hotel] if len(good) else np.zeros(0, dtype=bool)
    reasons = {
        row: conflict
        for row in np.flatnonzero(~accepted).tolist()
        if (conflict := conflicts[checked.hotel[row]])
    }
    return Decision(np.flatnonzero(accepted), 0, checked.rejected(reasons))


def _quarrel(hotels: list[Hotel], known: KnownHotels) -> bool:
    """Return whether new hotels conflict with each other, so that the row order matters."""
    new = [h for h in hotels if h not in known.ids and known.conflict(h) is None]
    phones = {hotel.phone for hotel in new}
    identities = {hotel.identity for hotel in new}
    return not len(phones) == len(identities) == len(new)


def _one_by_one(checked: ValidatedChunk, known: KnownHotels, seen: Mapping[int, int]) -> Decision:
    claims = KnownHotels(dict(known.by_phone), dict(known.by_identity), known.ids)
    taken = dict(seen)
    accepted: list[int] = []
    reasons: dict[int, ColumnReason] = {}
    duplicates = 0
    rows = zip(checked.ids.tolist(), checked.hashes.tolist(), checked.hotel.tolist(), strict=True)
    for row, (external_id, content, hotel_index) in enumerate(rows):
        hotel = checked.hotels[hotel_index]
        if external_id in taken:
            if taken[external_id] == content:
                duplicates += 1
            else:
                reasons[row] = (columns.ID, DUPLICATE_ID)
        elif conflict := claims.conflict(hotel):
            reasons[row] = conflict
        else:
            taken[external_id] = content
            claims.claim(hotel)
            accepted.append(row)
    return Decision(np.array(accepted, dtype=np.int64), duplicates, checked.rejected(reasons))
