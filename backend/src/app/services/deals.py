from decimal import Decimal
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import ErrorDetail, InvalidInputError, NotFoundError
from app.repositories.deals.read import DealReadRepository, sort_value
from app.repositories.deals.write import DealWriteRepository
from app.schemas.common import PaginatedResponse
from app.schemas.deals import (
    DATES_RULE,
    CityStatsResponse,
    DealCreate,
    DealPatch,
    DealQuery,
    DealResponse,
)
from app.services.support.cursors import CursorCodec
from app.services.support.pagination import PageRequest
from app.services.support.preconditions import VersionPrecondition


class DealReadService:
    """A service that reads deals: pages, single deals and statistics."""

    def __init__(self, deals: DealReadRepository, cursors: CursorCodec) -> None:
        self._deals = deals
        self._cursors = cursors

    async def page(self, query: DealQuery) -> PaginatedResponse[DealResponse]:
        """Return the page of deals that `query` selects. A page past the end is empty.

        Raises:
            InvalidInputError: the cursor is invalid or belongs to another query.
        """
        request = PageRequest.of("deals", query, query.sort, self._cursors)
        total, deals = await self._deals.page(request.filters, request.place, query.counting)
        return request.response(total, deals, sort_value)

    async def get(self, deal_id: int) -> DealResponse:
        """Return the deal with the id `deal_id`.

        Raises:
            NotFoundError: no deal has this id.
        """
        deal = await self._deals.get(deal_id)
        if deal is None:
            raise _unknown(deal_id)
        return deal

    async def statistics_by_city(self, *, available_only: bool) -> list[CityStatsResponse]:
        """Return the statistics of all cities that have deals, sorted by deal count, descending."""
        return await self._deals.statistics_by_city(available_only=available_only)


class DealWriteService:
    """A service that creates, changes and deletes deals, in one transaction."""

    def __init__(self, deals: DealWriteRepository) -> None:
        self._deals = deals

    @classmethod
    def on(cls, session: AsyncSession) -> Self:
        """Create a service that works in the transaction of `session`."""
        return cls(DealWriteRepository(session))

    async def create(self, deal: DealCreate) -> DealResponse:
        """Store a new deal.

        Raises:
            NotFoundError: the hotel does not exist.
            ConflictError: another deal has this `external_id`.
        """
        added = await self._deals.add(deal.model_dump())
        if added is None:
            raise NotFoundError(f"Hotel {deal.hotel_id} does not exist")
        return added

    async def change(
        self, deal_id: int, patch: DealPatch, expected: VersionPrecondition
    ) -> DealResponse:
        """Update the deal with the fields of `patch`. If no value differs, keep the version.

        Raises:
            NotFoundError: the deal or the hotel that `patch` names does not exist.
            InvalidInputError: after the change, checkout would not be after checkin.
            PreconditionFailedError: the client expects a different version of the deal.
            ConflictError: another request changed the deal first, or another deal has this
                `external_id`.
        """
        deal = await self._stored(deal_id)
        expected.require(deal["version"])
        changes = _changes(deal, patch)
        _require_order(deal, changes)
        if not changes:
            return deal
        if not await self._deals.change(deal_id, deal["version"], changes):
            raise expected.concurrent_update_error()
        return await self._stored(deal_id)

    async def remove(self, deal_id: int, expected: VersionPrecondition) -> None:
        """Delete a deal permanently.

        Raises:
            NotFoundError: the deal does not exist.
            PreconditionFailedError: the client expects a different version of the deal.
            ConflictError: another request changed the deal first.
        """
        version = await self._deals.version(deal_id)
        if version is None:
            raise _unknown(deal_id)
        expected.require(version)
        if not await self._deals.remove(deal_id, version):
            raise expected.concurrent_update_error()

    async def _stored(self, deal_id: int) -> DealResponse:
        deal = await self._deals.get(deal_id)
        if deal is None:
            raise _unknown(deal_id)
        return deal


def _changes(deal: DealResponse, patch: DealPatch) -> dict[str, Any]:
    """Return the fields of `patch` that differ from `deal`.

    Category names that differ only in case count as different. Only the database can ignore case
    correctly, because PostgreSQL's lower case may differ from Python's.
    """
    stored: dict[str, Any] = {
        **deal,
        "price_per_night": Decimal(deal["price_per_night"]),
        "original_price": Decimal(deal["original_price"]),
    }
    sent = patch.model_dump()
    if "categories" in sent and sorted(set(sent["categories"])) == deal["categories"]:
        del sent["categories"]
    return {name: value for name, value in sent.items() if stored[name] != value}


def _require_order(deal: DealResponse, changes: dict[str, Any]) -> None:
    for changed in ("checkout_date", "checkin_date"):
        checkin = changes.get("checkin_date", deal["checkin_date"])
        checkout = changes.get("checkout_date", deal["checkout_date"])
        if changed in changes and checkout <= checkin:
            rule = DATES_RULE if changed == "checkout_date" else "must be before checkout_date"
            raise InvalidInputError(details=[ErrorDetail(f"body.{changed}", rule)])


def _unknown(deal_id: int) -> NotFoundError:
    return NotFoundError(f"Deal {deal_id} does not exist")
