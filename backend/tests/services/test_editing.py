"""The rules for changes of deals, without a database."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.core.errors import ConflictError, InvalidInputError, NotFoundError, PreconditionFailedError
from app.repositories.deals.write import DealWriteRepository
from app.schemas.deals import DealPatch
from app.services.deals import DealWriteService
from app.services.support.preconditions import VersionPrecondition

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeDealWriteRepository(DealWriteRepository):
    """A repository with one deal in version 3 that records the requested changes."""

    def __init__(self, *, wins: bool = True) -> None:
        self.wins = wins
        self.changes: list[Mapping[str, Any]] = []

    async def get(self, deal_id: int) -> Any:
        if deal_id != 1:
            return None
        return {
            "id": 1,
            "external_id": 17,
            "hotel_id": 5,
            "room_type": "suite",
            "star_rating": 4,
            "price_per_night": "10.50",
            "original_price": "20.00",
            "discount_percent": 10,
            "checkin_date": date(2027, 1, 10),
            "checkout_date": date(2027, 1, 12),
            "is_available": True,
            "categories": ["beach"],
            "version": 3,
        }

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


class TestChangeDeal:
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
    async def test_equal_values_writes_nothing(self, patch: dict[str, Any]) -> None:
        repository = FakeDealWriteRepository()

        deal = await DealWriteService(repository).change(1, DealPatch.model_validate(patch), ANY)

        assert repository.changes == []
        assert deal["version"] == 3

    async def test_some_different_values_writes_only_these(self) -> None:
        repository = FakeDealWriteRepository()
        patch = DealPatch.model_validate(
            {"star_rating": 5, "room_type": "suite", "external_id": None, "categories": ["luxury"]}
        )

        await DealWriteService(repository).change(1, patch, CURRENT)

        assert repository.changes == [
            {"external_id": None, "star_rating": 5, "categories": ["luxury"]}
        ]

    @pytest.mark.parametrize(
        ("patch", "field"),
        [
            ({"checkin_date": "2027-01-12"}, "body.checkin_date"),
            ({"checkout_date": "2027-01-10"}, "body.checkout_date"),
            ({"checkin_date": "2027-02-02", "checkout_date": "2027-02-01"}, "body.checkout_date"),
        ],
    )
    async def test_date_against_stored_date_raises_invalid_input(
        self, patch: dict[str, Any], field: str
    ) -> None:
        repository = FakeDealWriteRepository()

        with pytest.raises(InvalidInputError) as refused:
            await DealWriteService(repository).change(1, DealPatch.model_validate(patch), ANY)

        assert [detail.field for detail in refused.value.details] == [field]
        assert repository.changes == []

    async def test_both_dates_moved_writes_them(self) -> None:
        repository = FakeDealWriteRepository()
        patch = {"checkin_date": "2028-01-01", "checkout_date": "2028-01-02"}

        await DealWriteService(repository).change(1, DealPatch.model_validate(patch), ANY)

        assert len(repository.changes) == 1


class TestChangeAndRemoveDeal:
    @pytest.mark.parametrize(
        ("expected", "wins", "error"),
        [
            (STALE, True, PreconditionFailedError),
            (CURRENT, False, PreconditionFailedError),
            (ANY, False, ConflictError),
        ],
    )
    async def test_lost_race_raises_precondition_failed_or_conflict(
        self, expected: VersionPrecondition, wins: bool, error: type[Exception]
    ) -> None:
        service = DealWriteService(FakeDealWriteRepository(wins=wins))

        with pytest.raises(error):
            await service.change(1, DealPatch(star_rating=1), expected)
        with pytest.raises(error):
            await service.remove(1, expected)

    async def test_unknown_deal_raises_not_found_for_any_precondition(self) -> None:
        for expected in (ANY, STALE):
            with pytest.raises(NotFoundError):
                await DealWriteService(FakeDealWriteRepository()).change(2, DealPatch(), expected)
            with pytest.raises(NotFoundError):
                await DealWriteService(FakeDealWriteRepository()).remove(2, expected)
