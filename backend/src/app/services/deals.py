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
    """Finding deals."""

    def __init__(self, deals: DealReadRepository, cursors: CursorCodec) -> None:
        self._deals = deals
        self._cursors = cursors

    async def page(self, query: DealQuery) -> PaginatedResponse[DealResponse]:
        """The page of deals that `query` asks for; empty, with its total, past the end.

        Raises:
            InvalidInputError: the cursor is not one of this query.
        """
        request = PageRequest.of("deals", query, query.sort, self._cursors)
        total, deals = await self._deals.page(request.filters, request.place, query.counting)
        page = request.page(deals, sort_value)
        return {
            "items": page.items,
            "total": total,
            "skip": page.skip,
            "limit": query.limit,
            "next_cursor": page.next_cursor,
        }

    async def get(self, deal_id: int) -> DealResponse:
        """One deal.

        Raises:
            NotFoundError: there is none of that id.
        """
        deal = await self._deals.get(deal_id)
        if deal is None:
            raise _unknown(deal_id)
        return deal

    async def statistics_by_city(self, *, available_only: bool) -> list[CityStatsResponse]:
        """Each city that has deals, most deals first."""
        return await self._deals.statistics_by_city(available_only=available_only)


class DealWriteService:
    """Creating, changing and removing deals, in one transaction."""

    def __init__(self, deals: DealWriteRepository) -> None:
        self._deals = deals

    @classmethod
    def on(cls, session: AsyncSession) -> Self:
        """Return the service for the transaction of `session`."""
        return cls(DealWriteRepository(session))

    async def create(self, deal: DealCreate) -> DealResponse:
        """Store a new deal.

        Raises:
            NotFoundError: there is no such hotel.
            ConflictError: another deal has its `external_id`; found by the database.
        """
        added = await self._deals.add(deal.model_dump())
        if added is None:
            raise NotFoundError(f"Hotel {deal.hotel_id} does not exist")
        return added

    async def change(
        self, deal_id: int, patch: DealPatch, expected: VersionPrecondition
    ) -> DealResponse:
        """Change what `patch` sends and what differs; nothing is no change of the version either.

        Raises:
            NotFoundError: there is no such deal, or no such hotel (found by the database).
            InvalidInputError: the dates are in the wrong order, together with the stored ones.
            PreconditionFailedError: the deal is not in the expected version.
            ConflictError: another writer was first, or has the `external_id`.
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
        """Delete a deal, for good.

        Raises:
            NotFoundError: there is no such deal.
            PreconditionFailedError: it is not in the expected version.
            ConflictError: another writer was first.
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
    """The fields of `patch` that are not as in `deal`; categories are compared by the database.

    What case a category's name has is not Python's to say, so a list that is sent is a change
    unless it is the stored one to the letter.
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
