from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.dependencies import NoQueryParameters, ReadDB
from app.repositories.deals import DealRepository
from app.routers.etags import tagged
from app.routers.responses import ITEM_ERRORS, LIST_ERRORS, JSONDump, page_links
from app.schemas.common import Id
from app.schemas.deals import CityStatistics, Deal, DealPage, DealQuery, StatisticsQuery
from app.services.deals import DealService

router = APIRouter(prefix="/deals", tags=["deals"])

_dump_page = JSONDump(DealPage)
_dump_deal = JSONDump(Deal)
_dump_statistics = JSONDump(list[CityStatistics])


@router.get("", response_model=DealPage, responses=LIST_ERRORS, operation_id="list_deals")
async def list_deals(
    request: Request, query: Annotated[DealQuery, Query()], session: ReadDB
) -> Response:
    """A page of deals, filtered and sorted.

    All filters must hold. Unknown parameters are refused, so that a typo does not widen a search.
    """
    page = await DealService(DealRepository(session)).page(query)
    link = page_links(
        request,
        skip=query.skip,
        limit=query.limit,
        total=page["total"],
        got=len(page["items"]),
    )
    return _dump_page(page, {"Link": link})


@router.get(
    "/stats",
    response_model=list[CityStatistics],
    responses=LIST_ERRORS,
    operation_id="city_statistics",
)
async def city_statistics(query: Annotated[StatisticsQuery, Query()], session: ReadDB) -> Response:
    """Average price and number of deals of each city that has any, most deals first."""
    service = DealService(DealRepository(session))
    return _dump_statistics(await service.statistics_by_city(available_only=query.available_only))


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
    session: ReadDB,
) -> Response:
    """One deal, with an `ETag` to ask again whether it has changed."""
    deal = await DealService(DealRepository(session)).get(deal_id)
    return tagged(request, _dump_deal(deal), deal["version"])
