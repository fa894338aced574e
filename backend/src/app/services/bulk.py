"""Bulk upserts: each item is validated separately, and all valid items are written together."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import AppError, ConflictError, ErrorDetail, InvalidInputError, NotFoundError
from app.repositories.bulk import BulkRepository
from app.schemas.bulk import BulkError, BulkResult, BulkResults
from app.schemas.deals import DealCreate
from app.schemas.validation_errors import error_detail

_TAKEN = "Another request stored this external_id at the same time, try again"


class BulkService:
    """A service that upserts deals by their `external_id`, in one transaction."""

    def __init__(self, deals: BulkRepository) -> None:
        self._deals = deals

    @classmethod
    def on(cls, session: AsyncSession) -> Self:
        """Create a service that works in the transaction of `session`."""
        return cls(BulkRepository(session))

    async def upsert(self, items: list[Any], *, atomic: bool) -> BulkResults:
        """Create deals, and update stored deals that have an item's `external_id` but other values.

        Raises:
            InvalidInputError: `atomic` is set and an item breaks a rule. The error's `details` name
                the item and the field.
            ConflictError: `atomic` is set, and an item names a missing hotel, repeats another
                item's `external_id`, or has one that a concurrent request has just stored.
        """
        work = _Work(items)
        await self._look_up(work)
        if atomic and work.errors:
            raise work.refusal()
        await self._write(work)
        if atomic and work.errors:
            raise work.refusal()
        return {"results": [work.result(index) for index in range(len(items))]}

    async def _look_up(self, work: "_Work") -> None:
        """Lock the hotels and stored deals that the items name, and set each item's status."""
        hotels = await self._deals.lock_hotels({row["hotel_id"] for row in work.rows.values()})
        names = {name for row in work.rows.values() for name in row["categories"]}
        lower = await self._deals.lower_case(names)
        for index, row in list(work.rows.items()):
            row["categories"] = sorted({lower[name] for name in row["categories"]})
            if row["hotel_id"] not in hotels:
                work.refuse(index, NotFoundError(f"Hotel {row['hotel_id']} does not exist"))
        wanted = {row["external_id"] for row in work.rows.values()} - {None}
        work.compare(await self._deals.lock_deals(wanted))

    async def _write(self, work: "_Work") -> None:
        new = work.of("created")
        ids = await self._deals.new_ids(len(new))
        for row, deal_id in zip(new, ids, strict=True):
            row["id"] = deal_id
        inserted = await self._deals.insert(_json(new))
        for index, row in list(work.rows.items()):
            if work.status[index] == "created" and row["id"] not in inserted:
                work.refuse(index, ConflictError(_TAKEN))
        changed = work.of("updated")
        await self._deals.update(_json(changed))
        rows = changed + work.of("created")
        await self._deals.replace_categories(
            _json(rows), {name for row in rows for name in row["categories"]}
        )


class _Work:
    """The state of a bulk request: a row for each valid item, and an error for each invalid one."""

    def __init__(self, items: list[Any]) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.errors: dict[int, AppError] = {}
        self.status: dict[int, Any] = {}
        taken: set[int] = set()
        for index, item in enumerate(items):
            try:
                deal = DealCreate.model_validate(item)
            except ValidationError as error:
                self.errors[index] = InvalidInputError(
                    details=[error_detail(problem) for problem in error.errors(include_input=False)]
                )
                continue
            if deal.external_id in taken:
                self.errors[index] = ConflictError("An earlier item has this external_id")
                continue
            if deal.external_id is not None:
                taken.add(deal.external_id)
            self.rows[index] = deal.model_dump()
            self.status[index] = "created"

    def refuse(self, index: int, error: AppError) -> None:
        """Replace an item's row with an error."""
        del self.rows[index]
        self.errors[index] = error

    def compare(self, deals: Sequence[Mapping[str, Any]]) -> None:
        """Mark items as unchanged or updated by comparing them with the stored deals `deals`."""
        items = {row["external_id"]: index for index, row in self.rows.items()}
        for stored in deals:
            index = items[stored["external_id"]]
            self.rows[index]["id"] = stored["id"]
            same = self.rows[index] == stored
            self.status[index] = "unchanged" if same else "updated"

    def of(self, status: str) -> list[dict[str, Any]]:
        """Return the rows of the valid items whose status is `status`."""
        return [row for index, row in self.rows.items() if self.status[index] == status]

    def result(self, index: int) -> BulkResult:
        error = self.errors.get(index)
        if error is None:
            return {
                "index": index,
                "status": self.status[index],
                "id": self.rows[index]["id"],
                "error": None,
            }
        shown: BulkError = {"code": error.code, "message": error.message}
        if error.details:
            shown["details"] = [
                {"field": detail.field, "message": detail.message} for detail in error.details
            ]
        return {"index": index, "status": "error", "id": None, "error": shown}

    def refusal(self) -> AppError:
        """Create one error that lists the details of all failed items."""
        details = []
        for index, error in sorted(self.errors.items()):
            if error.details:
                details += [
                    ErrorDetail(f"body.{index}.{detail.field}", detail.message)
                    for detail in error.details
                ]
            else:
                details.append(ErrorDetail(f"body.{index}", error.message))
        invalid = any(isinstance(error, InvalidInputError) for error in self.errors.values())
        kind = InvalidInputError if invalid else ConflictError
        return kind("Nothing was stored", details)


def _json(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert decimals and dates to text, from which PostgreSQL reads exact values."""
    return [
        {
            name: value if isinstance(value, int | list | None) else str(value)
            for name, value in row.items()
        }
        for row in rows
    ]
