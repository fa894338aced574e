from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.dependencies import (
    DealWriter,
    EditingDeals,
    ExpectedVersions,
    IfNoneMatch,
    JSONBody,
    NoQueryParameters,
    Once,
    ReadingDeals,
)
from app.routers.documented import ETAG, LINK, LOCATION, PUBLIC, REPLAYED, answer, links_to
from app.routers.paths import DEAL
from app.routers.responses import (
    CHANGE_ERRORS,
    CREATE_ERRORS,
    ITEM_ERRORS,
    LIST_ERRORS,
    REMOVE_ERRORS,
    JSONDump,
    answered_once,
    page_links,
    unless_current,
)
from app.routers.retrying import RetryingRoute
from app.schemas.common import Id
from app.schemas.deals import (
    CityStatistics,
    Deal,
    DealCreate,
    DealPage,
    DealPatch,
    DealQuery,
    StatisticsQuery,
)

router = APIRouter(prefix="/deals", tags=["deals"], route_class=RetryingRoute)

_dump_page = JSONDump(DealPage)
_dump_deal = JSONDump(Deal)
_dump_statistics = JSONDump(list[CityStatistics])


@router.get(
    "",
    response_model=DealPage,
    responses={**answer(200, LINK), **LIST_ERRORS},
    operation_id="list_deals",
    openapi_extra=PUBLIC,
)
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
    responses={**answer(200), **LIST_ERRORS},
    operation_id="city_statistics",
    openapi_extra=PUBLIC,
)
async def city_statistics(
    query: Annotated[StatisticsQuery, Query()], deals: ReadingDeals
) -> Response:
    """Average price and number of deals of each city that has any, most deals first."""
    found = await deals.statistics_by_city(available_only=query.available_only)
    return _dump_statistics(found)


@router.get(
    DEAL,
    response_model=Deal,
    responses={**answer(200, ETAG, links=links_to("deal")), **ITEM_ERRORS},
    operation_id="get_deal",
    openapi_extra=PUBLIC,
)
async def get_deal(
    deal_id: Annotated[Id, Path()],
    _: NoQueryParameters,
    deals: ReadingDeals,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One deal, with an `ETag` to ask again whether it has changed."""
    deal = await deals.get(deal_id)
    return unless_current(if_none_match, _dump_deal.tagged(deal, deal["version"]))


@router.post(
    "",
    status_code=201,
    response_model=Deal,
    responses={
        **answer(201, ETAG, LOCATION, REPLAYED, links=links_to("deal")),
        **CREATE_ERRORS,
    },
    dependencies=[DealWriter, JSONBody],
    operation_id="create_deal",
)
async def create_deal(
    body: DealCreate, once: Once, _: NoQueryParameters, deals: EditingDeals
) -> Response:
    """Make a deal; `Location` says where it is."""

    async def create() -> Response:
        deal = await deals.create(body)
        return _dump_deal.tagged(deal, deal["version"], location=f"/deals/{deal['id']}")

    return await answered_once(once, create)


@router.patch(
    DEAL,
    response_model=Deal,
    responses={**answer(200, ETAG, links=links_to("deal")), **CHANGE_ERRORS},
    dependencies=[DealWriter, JSONBody],
    operation_id="change_deal",
)
async def change_deal(
    deal_id: Annotated[Id, Path()],
    body: DealPatch,
    expected: ExpectedVersions,
    _: NoQueryParameters,
    deals: EditingDeals,
) -> Response:
    """Change the fields that are sent; the others stay.

    With `If-Match` only in that version; without it, of two writers at once one gets a 409.
    """
    deal = await deals.change(deal_id, body, expected)
    return _dump_deal.tagged(deal, deal["version"])


@router.delete(
    DEAL,
    status_code=204,
    response_class=Response,
    responses={**answer(204), **REMOVE_ERRORS},
    dependencies=[DealWriter],
    operation_id="delete_deal",
)
async def delete_deal(
    deal_id: Annotated[Id, Path()],
    expected: ExpectedVersions,
    _: NoQueryParameters,
    deals: EditingDeals,
) -> None:
    """Delete a deal, for good."""
    await deals.remove(deal_id, expected)
