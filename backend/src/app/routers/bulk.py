from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from app.dependencies import DealWriter, EditingManyDeals, JSONBody, Once
from app.routers.documented import REPLAYED, answer
from app.routers.responses import CREATE_ERRORS, JSONDump, answered_once
from app.routers.retrying import RetryingRoute
from app.schemas.bulk import BulkBody, BulkQuery, BulkResults

router = APIRouter(prefix="/deals", tags=["deals"], route_class=RetryingRoute)

_dump = JSONDump(BulkResults)


@router.post(
    "/bulk",
    response_model=BulkResults,
    responses={**answer(200, REPLAYED), **CREATE_ERRORS},
    dependencies=[DealWriter, JSONBody],
    operation_id="upsert_deals",
)
async def upsert_deals(
    body: Annotated[BulkBody, Body()],
    query: Annotated[BulkQuery, Query()],
    once: Once,
    deals: EditingManyDeals,
) -> Response:
    """Create or replace up to 1,000 deals, matched by `external_id`; without one they are new.

    Each item has a result, in order; a bad one stops no other, unless `atomic`.
    """

    async def upsert() -> Response:
        return _dump(await deals.upsert(body, atomic=query.atomic))

    return await answered_once(once, upsert)
