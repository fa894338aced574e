from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.core.errors import ConflictError, NotFoundError
from app.http.dependencies import (
    DB,
    IdempotentRequestDep,
    IfMatchVersions,
    JSONBody,
    NoQueryParameters,
    ReadDB,
    RequireDealWrite,
)
from app.http.openapi.errors import (
    CREATE_ERRORS,
    DELETE_ERRORS,
    LIMIT_TOO_LARGE,
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
from app.schemas.hotels import HOTEL_EXAMPLE, HotelCreate, HotelPatch, HotelQuery, HotelResponse
from app.services.hotels import HotelService

router = APIRouter(prefix="/hotels", tags=["hotels"])

HotelPageQuery = Annotated[HotelQuery, query_model(HotelQuery)]
HotelId = Annotated[Id, Path(description="The hotel's `id`", examples=[3])]

_dump_page = JSONSerializer(PaginatedResponse[HotelResponse])
_dump_hotel = JSONSerializer(HotelResponse)


_NOT_THERE = NotFoundError("Hotel 4711 does not exist")
_TAKEN = (
    ConflictError("Another hotel has this phone"),
    ConflictError("Another hotel has this name in this city and country"),
)
_HAS_DEALS = ConflictError("The hotel has deals; delete or move them first")
_WRONG = validation_error("body.phone", "String should have at least 1 character")


@router.get(
    "",
    response_model=PaginatedResponse[HotelResponse],
    responses={
        **success_response(
            200,
            LINK,
            description="A page of hotels, sorted by `id`",
            example=page_example(HOTEL_EXAMPLE),
        ),
        **errors(LIMIT_TOO_LARGE, WRONG_CURSOR, UNKNOWN_PARAMETER),
    },
    operation_id="list_hotels",
    summary="List hotels",
    openapi_extra=PUBLIC | query_parameters(HotelQuery),
)
async def list_hotels(request: Request, query: HotelPageQuery) -> Response:
    """Return a page of hotels, sorted by `id`."""
    page = await service_state(request).hotels.page(query)
    return _dump_page(page, page_links(request, page))


@router.get(
    "/{hotel_id}",
    response_model=HotelResponse,
    responses={
        **success_response(200, ETAG, description="The hotel", links=links_to("hotel")),
        **NOT_MODIFIED,
        **errors(_NOT_THERE, not_an_id("hotel_id")),
    },
    operation_id="get_hotel",
    summary="Read a hotel",
    openapi_extra=PUBLIC | CONDITIONAL,
)
async def get_hotel(
    request: Request, hotel_id: HotelId, _: NoQueryParameters, session: ReadDB
) -> Response:
    """Return a hotel with its average stars and deal count."""
    hotel = await HotelService(session).get(hotel_id)
    return not_modified_or(request, _dump_hotel.tagged(hotel, hotel["version"]))


@router.post(
    "",
    status_code=201,
    response_model=HotelResponse,
    responses={
        **success_response(
            201,
            *(ETAG, location("hotels"), REPLAYED),
            description="The new hotel",
            links=links_to("hotel"),
        ),
        **errors(*_TAKEN, _WRONG, *CREATE_ERRORS),
    },
    dependencies=[RequireDealWrite, JSONBody],
    operation_id="create_hotel",
    summary="Create a hotel",
)
async def create_hotel(
    request: Request, body: HotelCreate, once: IdempotentRequestDep, _: NoQueryParameters
) -> Response:
    """Create a hotel and return it. The `Location` header contains its path."""

    async def create(session: DB) -> Response:
        hotel = await HotelService(session).create(body)
        return _dump_hotel.tagged(hotel, hotel["version"], location=f"/hotels/{hotel['id']}")

    return await run_idempotently(service_state(request).uow, once, create)


@router.patch(
    "/{hotel_id}",
    response_model=HotelResponse,
    responses={
        **success_response(200, ETAG, description="The changed hotel", links=links_to("hotel")),
        **errors(_NOT_THERE, *_TAKEN, _WRONG, not_an_id("hotel_id"), *UPDATE_ERRORS),
    },
    dependencies=[RequireDealWrite, JSONBody],
    operation_id="change_hotel",
    summary="Change a hotel",
)
async def change_hotel(
    request: Request,
    hotel_id: HotelId,
    body: HotelPatch,
    expected: IfMatchVersions,
    _: NoQueryParameters,
) -> Response:
    """Change the fields that the body contains. Other fields keep their values.

    If the hotel no longer has the version in `If-Match`, the response is 412. If two requests
    without `If-Match` change the hotel at the same time, one of them gets a 409.
    """
    hotel = await service_state(request).uow.run(
        lambda session: HotelService(session).change(hotel_id, body, expected)
    )
    return _dump_hotel.tagged(hotel, hotel["version"])


@router.delete(
    "/{hotel_id}",
    status_code=204,
    response_class=Response,
    responses={
        **success_response(204, description="The hotel is deleted"),
        **errors(_NOT_THERE, _HAS_DEALS, not_an_id("hotel_id"), *DELETE_ERRORS),
    },
    dependencies=[RequireDealWrite],
    operation_id="delete_hotel",
    summary="Delete a hotel",
)
async def delete_hotel(
    request: Request, hotel_id: HotelId, expected: IfMatchVersions, _: NoQueryParameters
) -> None:
    """Delete a hotel permanently. If the hotel has deals, the response is 409."""
    await service_state(request).uow.run(
        lambda session: HotelService(session).remove(hotel_id, expected)
    )
