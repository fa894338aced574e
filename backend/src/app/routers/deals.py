from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.dependencies import NoQueryParameters, ReadingDeals
from app.routers.etags import tagged
from app.routers.responses import ITEM_ERRORS, LIST_ERRORS, JSONDump, page_links
from app.schemas.common import Id
from app.schemas.deals import CityStatistics, Deal, DealPage, DealQuery, StatisticsQuery

router = APIRouter(prefix="/deals", tags=["deals"])

_dump_page = JSONDump(DealPage)
_dump_deal = JSONDump(Deal)
_dump_statistics = JSONDump(list[CityStatistics])


@router.get("", response_model=DealPage, responses=LIST_ERRORS, operation_id="list_deals")
async def list_deals(
    request: Request, query: Annotated[DealQuery, Query()], deals: ReadingDeals
) -> Response:
    """A page of deals, filtered and sorted.

    All filters must hold. Unknown parameters are refused, so that a typo does not widen a search.
    """
    page = await deals.page(query)
    link = page_links(
        request, skip=page["skip"], got=len(page["items"]), next_cursor=page["next_cursor"]
    )
    return _dump_page(page, {"Link": link})


@router.get(
    "/stats",
    response_model=list[CityStatistics],
    responses=LIST_ERRORS,
    operation_id="city_statistics",
)
async def city_statistics(
    query: Annotated[StatisticsQuery, Query()], deals: ReadingDeals
) -> Response:
    """Average price and number of deals of each city that has any, most deals first."""
    found = await deals.statistics_by_city(available_only=query.available_only)
    return _dump_statistics(found)


@router.get(
    "/{deal_id}",
    response_model=Deal,
    responses=ITEM_ERRORS
    | {304: {"description": "The client's copy, `If-None-Match`, is current"}},
    operation_id="get_deal",
)
async def get_deal(
    request: Request,
    deal_id: Annotated[Id, Path()],
    _: NoQueryParameters,
    deals: ReadingDeals,
) -> Response:
    """One deal, with an `ETag` to ask again whether it has changed."""
    deal = await deals.get(deal_id)
    return tagged(request, _dump_deal(deal), deal["version"])
