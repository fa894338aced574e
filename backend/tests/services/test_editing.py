"""The rules of changing deals, without a database."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.core.errors import ConflictError, InvalidInputError, NotFoundError, PreconditionFailedError
from app.repositories.deals.read import deal_response
from app.repositories.deals.write import DealWriteRepository
from app.schemas.deals import DealPatch
from app.services.deals import DealWriteService
from app.services.support.preconditions import VersionPrecondition

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeStore(DealWriteRepository):
    """One deal, in version 3; remembers what it was told to change."""

    def __init__(self, *, wins: bool = True) -> None:
        self.wins = wins
        self.changes: list[Mapping[str, Any]] = []

    async def get(self, deal_id: int) -> Any:
        if deal_id != 1:
            return None
        deal = (1, 17, 5, "suite", 4, Decimal("10.50"), Decimal("20.00"), 10)
        dates = (date(2027, 1, 10), date(2027, 1, 12))
        hotel = (5, "Inn", "Berlin", "Germany", "+49", 4.0)
        return deal_response((None, *deal, *dates, True, ["beach"], 3, NOW, NOW, *hotel))

    async def version(self, deal_id: int) -> int | None:
        return 3 if deal_id == 1 else None

    async def change(self, deal_id: int, version: int, values: Mapping[str, Any]) -> bool:
        assert (deal_id, version) == (1, 3)
        self.changes.append(values)
        return self.wins

    async def remove(self, deal_id: int, version: int) -> bool:
        assert (deal_id, version) == (1, 3)
        return self.wins


ANY = VersionPrecondition()
CURRENT = VersionPrecondition(frozenset({3}))
STALE = VersionPrecondition(frozenset({2}))


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"star_rating": 4},
        {"price_per_night": "10.5"},
        {"price_per_night": 10.5, "categories": ["beach", "beach"]},
        {"checkin_date": "2027-01-10", "external_id": 17},
    ],
)
async def test_what_is_stored_already_is_not_written(patch: dict[str, Any]) -> None:
    store = FakeStore()

    deal = await DealWriteService(store).change(1, DealPatch.model_validate(patch), ANY)

    assert store.changes == []
    assert deal["version"] == 3


async def test_only_what_differs_is_written() -> None:
    store = FakeStore()
    patch = DealPatch.model_validate(
        {"star_rating": 5, "room_type": "suite", "external_id": None, "categories": ["luxury"]}
    )

    await DealWriteService(store).change(1, patch, CURRENT)

    assert store.changes == [{"external_id": None, "star_rating": 5, "categories": ["luxury"]}]


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"checkin_date": "2027-01-12"}, "body.checkin_date"),
        ({"checkout_date": "2027-01-10"}, "body.checkout_date"),
        ({"checkin_date": "2027-02-02", "checkout_date": "2027-02-01"}, "body.checkout_date"),
    ],
)
async def test_dates_are_judged_together_with_the_stored_ones(
    patch: dict[str, Any], field: str
) -> None:
    store = FakeStore()

    with pytest.raises(InvalidInputError) as refused:
        await DealWriteService(store).change(1, DealPatch.model_validate(patch), ANY)

    assert [detail.field for detail in refused.value.details] == [field]
    assert store.changes == []


async def test_both_dates_may_move_past_the_stored_ones() -> None:
    store = FakeStore()
    patch = {"checkin_date": "2028-01-01", "checkout_date": "2028-01-02"}

    await DealWriteService(store).change(1, DealPatch.model_validate(patch), ANY)

    assert len(store.changes) == 1


@pytest.mark.parametrize(
    ("expected", "wins", "error"),
    [
        (STALE, True, PreconditionFailedError),
        (CURRENT, False, PreconditionFailedError),
        (ANY, False, ConflictError),
    ],
)
async def test_losing_is_a_failed_precondition_or_a_conflict(
    expected: VersionPrecondition, wins: bool, error: type[Exception]
) -> None:
    editor = DealWriteService(FakeStore(wins=wins))

    with pytest.raises(error):
        await editor.change(1, DealPatch(star_rating=1), expected)
    with pytest.raises(error):
        await editor.remove(1, expected)


async def test_what_is_not_there_is_not_found_whatever_is_expected() -> None:
    for expected in (ANY, STALE):
        with pytest.raises(NotFoundError):
            await DealWriteService(FakeStore()).change(2, DealPatch(), expected)
        with pytest.raises(NotFoundError):
            await DealWriteService(FakeStore()).remove(2, expected)
