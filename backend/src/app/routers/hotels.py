from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.dependencies import NoQueryParameters, ReadingHotels
from app.routers.responses import ITEM_ERRORS, LIST_ERRORS, JSONDump, page_links
from app.schemas.common import Id
from app.schemas.hotels import Hotel, HotelPage, HotelQuery

router = APIRouter(prefix="/hotels", tags=["hotels"])

_dump_page = JSONDump(HotelPage)
_dump_hotel = JSONDump(Hotel)


@router.get("", response_model=HotelPage, responses=LIST_ERRORS, operation_id="list_hotels")
async def list_hotels(
    request: Request, query: Annotated[HotelQuery, Query()], hotels: ReadingHotels
) -> Response:
    """A page of hotels, ordered by id."""
    page = await hotels.page(query)
    link = page_links(
        request, skip=page["skip"], got=len(page["items"]), next_cursor=page["next_cursor"]
    )
    return _dump_page(page, {"Link": link})


@router.get("/{hotel_id}", response_model=Hotel, responses=ITEM_ERRORS, operation_id="get_hotel")
async def get_hotel(
    hotel_id: Annotated[Id, Path()], _: NoQueryParameters, hotels: ReadingHotels
) -> Response:
    """One hotel with its average stars and number of deals."""
    return _dump_hotel(await hotels.get(hotel_id))
