from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.core.errors import ConflictError, NotFoundError
from app.http.convertors import DEAL
from app.http.dependencies import (
    DB,
    IdempotentRequestDep,
    IfMatchVersions,
    JSONBody,
    NoQueryParameters,
    RequireDealWrite,
    reject_query_params,
)
from app.http.openapi.errors import (
    CREATE_ERRORS,
    DELETE_ERRORS,
    LIMIT_TOO_LARGE,
    NOT_A_BOOLEAN,
    UNKNOWN_PARAMETER,
    UPDATE_ERRORS,
    WRONG_CURSOR,
    errors,
    not_an_id,
    validation_error,
)
from app.http.openapi.responses import (
    CONDITIONAL,
    ETAG,
    LINK,
    NOT_MODIFIED,
    PUBLIC,
    REPLAYED,
    links_to,
    location,
    success_response,
)
from app.http.query_models import query_model, query_parameters
from app.http.responses import JSONSerializer, not_modified_or, page_links, run_idempotently
from app.http.state import service_state
from app.schemas.common import Id, PaginatedResponse, page_example
from app.schemas.deals import (
    DEAL_EXAMPLE,
    CityStatsResponse,
    DealCreate,
    DealPatch,
    DealQuery,
    DealResponse,
    StatisticsQuery,
)
from app.services.deals import DealWriteService

router = APIRouter(prefix="/deals", tags=["deals"])

DealPageQuery = Annotated[DealQuery, query_model(DealQuery)]
DealId = Annotated[Id, Path(description="The deal's `id`", examples=[1])]

_dump_page = JSONSerializer(PaginatedResponse[DealResponse])
_dump_deal = JSONSerializer(DealResponse)
_dump_statistics = JSONSerializer(list[CityStatsResponse])


_NOT_THERE = NotFoundError("Deal 4711 does not exist")
_TAKEN = (ConflictError("Another deal has this external_id"),)
_WRONG = validation_error("body.price_per_night", "Input should be greater than 0")


@router.get(
    "",
    response_model=PaginatedResponse[DealResponse],
    responses={
        **success_response(
            200,
            LINK,
            description="A page of deals in the requested order",
            example=page_example(DEAL_EXAMPLE),
        ),
        **errors(LIMIT_TOO_LARGE, WRONG_CURSOR, UNKNOWN_PARAMETER),
    },
    operation_id="list_deals",
    summary="Search deals",
    openapi_extra=PUBLIC | query_parameters(DealQuery),
)
async def list_deals(request: Request, query: DealPageQuery) -> Response:
    """Return a page of deals that match all filters.

    Unknown parameters get a 422, so that a typo does not widen a search.
    """
    page = await service_state(request).deals.page(query)
    return _dump_page(page, page_links(request, page))


@router.get(
    "/stats",
    response_model=list[CityStatsResponse],
    responses={
        **success_response(
            200,
            description="Cities sorted by deal count, highest first, and then by name",
            example=[
                {"city": "London", "avg_price": "326.06", "deal_count": 2493},
                {"city": "Berlin", "avg_price": "318.40", "deal_count": 2120},
            ],
        ),
        **errors(NOT_A_BOOLEAN),
    },
    operation_id="city_statistics",
    summary="Average prices by city",
    openapi_extra=PUBLIC,
)
async def city_statistics(request: Request, query: Annotated[StatisticsQuery, Query()]) -> Response:
    """Return the average price and the deal count of each city that has deals.

    The city with the most deals comes first.
    """
    deals = service_state(request).deals
    return _dump_statistics(await deals.statistics_by_city(available_only=query.available_only))


@router.get(
    DEAL,
    response_model=DealResponse,
    responses={
        **success_response(200, ETAG, description="The deal", links=links_to("deal")),
        **NOT_MODIFIED,
        **errors(_NOT_THERE, not_an_id("deal_id")),
    },
    operation_id="get_deal",
    summary="Read a deal",
    openapi_extra=PUBLIC | CONDITIONAL,
)
async def get_deal(request: Request, deal_id: DealId) -> Response:
    """Return a deal with its `ETag`."""
    await reject_query_params(request)
    deal = await service_state(request).deals.get(deal_id)
    return not_modified_or(request, _dump_deal.tagged(deal, deal["version"]))


@router.post(
    "",
    status_code=201,
    response_model=DealResponse,
    responses={
        **success_response(
            201,
            *(ETAG, location("deals"), REPLAYED),
            description="The new deal",
            links=links_to("deal"),
        ),
        **errors(NotFoundError("Hotel 4711 does not exist"), *_TAKEN, _WRONG, *CREATE_ERRORS),
    },
    dependencies=[RequireDealWrite, JSONBody],
    operation_id="create_deal",
    summary="Create a deal",
)
async def create_deal(
    request: Request, body: DealCreate, once: IdempotentRequestDep, _: NoQueryParameters
) -> Response:
    """Create a deal and return it. The `Location` header contains its path."""

    async def create(session: DB) -> Response:
        deal = await DealWriteService.on(session).create(body)
        return _dump_deal.tagged(deal, deal["version"], location=f"/deals/{deal['id']}")

    return await run_idempotently(service_state(request).uow, once, create)


@router.patch(
    DEAL,
    response_model=DealResponse,
    responses={
        **success_response(200, ETAG, description="The changed deal", links=links_to("deal")),
        **errors(_NOT_THERE, *_TAKEN, _WRONG, not_an_id("deal_id"), *UPDATE_ERRORS),
    },
    dependencies=[RequireDealWrite, JSONBody],
    operation_id="change_deal",
    summary="Change a deal",
)
async def change_deal(
    request: Request,
    deal_id: DealId,
    body: DealPatch,
    expected: IfMatchVersions,
    _: NoQueryParameters,
) -> Response:
    """Change the fields that the body contains. Other fields keep their values.

    If the deal no longer has the version in `If-Match`, the response is 412. If two requests
    without `If-Match` change the deal at the same time, one of them gets a 409.
    """
    deal = await service_state(request).uow.run(
        lambda session: DealWriteService.on(session).change(deal_id, body, expected)
    )
    return _dump_deal.tagged(deal, deal["version"])


@router.delete(
    DEAL,
    status_code=204,
    response_class=Response,
    responses={
        **success_response(204, description="The deal is deleted"),
        **errors(*DELETE_ERRORS, _NOT_THERE, not_an_id("deal_id")),
    },
    dependencies=[RequireDealWrite],
    operation_id="delete_deal",
    summary="Delete a deal",
)
async def delete_deal(
    request: Request, deal_id: DealId, expected: IfMatchVersions, _: NoQueryParameters
) -> None:
    """Delete a deal permanently."""
    await service_state(request).uow.run(
        lambda session: DealWriteService.on(session).remove(deal_id, expected)
    )
