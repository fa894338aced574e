from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.dependencies import (
    DealWriter,
    EditingHotels,
    ExpectedVersions,
    IfNoneMatch,
    JSONBody,
    NoQueryParameters,
    Once,
    ReadingHotels,
)
from app.routers.documented import ETAG, LINK, LOCATION, PUBLIC, REPLAYED, answer, links_to
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
from app.schemas.hotels import Hotel, HotelCreate, HotelPage, HotelPatch, HotelQuery

router = APIRouter(prefix="/hotels", tags=["hotels"], route_class=RetryingRoute)

_dump_page = JSONDump(HotelPage)
_dump_hotel = JSONDump(Hotel)


@router.get(
    "",
    response_model=HotelPage,
    responses={**answer(200, LINK), **LIST_ERRORS},
    operation_id="list_hotels",
    openapi_extra=PUBLIC,
)
async def list_hotels(
    request: Request, query: Annotated[HotelQuery, Query()], hotels: ReadingHotels
) -> Response:
    """A page of hotels, ordered by id."""
    page = await hotels.page(query)
    link = page_links(
        request, skip=page["skip"], got=len(page["items"]), next_cursor=page["next_cursor"]
    )
    return _dump_page(page, {"Link": link})


@router.get(
    "/{hotel_id}",
    response_model=Hotel,
    responses={**answer(200, ETAG, links=links_to("hotel")), **ITEM_ERRORS},
    operation_id="get_hotel",
    openapi_extra=PUBLIC,
)
async def get_hotel(
    hotel_id: Annotated[Id, Path()],
    _: NoQueryParameters,
    hotels: ReadingHotels,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One hotel with its average stars and number of deals."""
    hotel = await hotels.get(hotel_id)
    return unless_current(if_none_match, _dump_hotel.tagged(hotel, hotel["version"]))


@router.post(
    "",
    status_code=201,
    response_model=Hotel,
    responses={
        **answer(201, ETAG, LOCATION, REPLAYED, links=links_to("hotel")),
        **CREATE_ERRORS,
    },
    dependencies=[DealWriter, JSONBody],
    operation_id="create_hotel",
)
async def create_hotel(
    body: HotelCreate, once: Once, _: NoQueryParameters, hotels: EditingHotels
) -> Response:
    """Make a hotel; `Location` says where it is."""

    async def create() -> Response:
        hotel = await hotels.create(body)
        return _dump_hotel.tagged(hotel, hotel["version"], location=f"/hotels/{hotel['id']}")

    return await answered_once(once, create)


@router.patch(
    "/{hotel_id}",
    response_model=Hotel,
    responses={**answer(200, ETAG, links=links_to("hotel")), **CHANGE_ERRORS},
    dependencies=[DealWriter, JSONBody],
    operation_id="change_hotel",
)
async def change_hotel(
    hotel_id: Annotated[Id, Path()],
    body: HotelPatch,
    expected: ExpectedVersions,
    _: NoQueryParameters,
    hotels: EditingHotels,
) -> Response:
    """Change the fields that are sent; the others stay.

    With `If-Match` only in that version; without it, of two writers at once one gets a 409.
    """
    hotel = await hotels.change(hotel_id, body, expected)
    return _dump_hotel.tagged(hotel, hotel["version"])


@router.delete(
    "/{hotel_id}",
    status_code=204,
    response_class=Response,
    responses={**answer(204), **REMOVE_ERRORS},
    dependencies=[DealWriter],
    operation_id="delete_hotel",
)
async def delete_hotel(
    hotel_id: Annotated[Id, Path()],
    expected: ExpectedVersions,
    _: NoQueryParameters,
    hotels: EditingHotels,
) -> None:
    """Delete a hotel that has no deals."""
    await hotels.remove(hotel_id, expected)
