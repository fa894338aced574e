"""A program that uses the generated client unedited: `python use.py URL KEY`."""

import sys
from datetime import date
from http import HTTPStatus
from io import BytesIO

from hotel_deals_client import AuthenticatedClient
from hotel_deals_client.api.deals import (
    change_deal,
    create_deal,
    delete_deal,
    get_deal,
    list_deals,
)
from hotel_deals_client.api.hotels import create_hotel
from hotel_deals_client.api.imports import create_import
from hotel_deals_client.models import (
    DealCreate,
    DealPatch,
    DealResponse,
    ErrorDetailBody,
    ErrorEnvelope,
    HotelCreate,
    HotelResponse,
    ImportResponse,
    PaginatedResponseDealResponse,
)
from hotel_deals_client.types import UNSET, File, Unset


def new_deal(hotel: HotelResponse, price: str, stars: int = 4) -> DealCreate:
    return DealCreate(
        hotel_id=hotel.id,
        room_type="suite",
        star_rating=stars,
        price_per_night=price,
        original_price=244.69,
        discount_percent=28,
        checkin_date=date(2026, 12, 1),
        checkout_date=date(2026, 12, 6),
        categories=["Luxury"],
    )


def read_page(
    client: AuthenticatedClient, cursor: str | Unset = UNSET
) -> PaginatedResponseDealResponse:
    found = list_deals.sync(
        client=client,
        city="BERLIN",
        category=["luxury", "beach"],
        price_max=150,
        limit=2,
        cursor=cursor,
    )
    assert isinstance(found, PaginatedResponseDealResponse), found
    return found


def create_hotel_with_deals(client: AuthenticatedClient) -> HotelResponse:
    body = HotelCreate(name="Court", city="Berlin", country="Germany", phone="+49-30-1")
    hotel = create_hotel.sync(client=client, body=body, idempotency_key="python")
    assert isinstance(hotel, HotelResponse), hotel
    for price in ("100.00", "120.00", "140.00"):
        made = create_deal.sync_detailed(client=client, body=new_deal(hotel, price))
        assert isinstance(made.parsed, DealResponse), made
        assert made.headers["Location"] == f"/deals/{made.parsed.id}"
    return hotel


def read_and_change(client: AuthenticatedClient) -> int:
    first = read_page(client)
    assert first.total == 3
    assert first.next_cursor is not None
    second = read_page(client, first.next_cursor)
    prices = [deal.price_per_night for deal in [*first.items, *second.items]]
    assert prices == ["100.00", "120.00", "140.00"]
    assert second.next_cursor is None

    deal_id: int = first.items[0].id
    read = get_deal.sync_detailed(deal_id, client=client)
    assert isinstance(read.parsed, DealResponse)
    assert read.parsed.hotel.name == "Court"

    tag, sold = read.headers["ETag"], DealPatch(is_available=False)
    changed = change_deal.sync(deal_id, client=client, body=sold, if_match=tag)
    assert isinstance(changed, DealResponse), changed
    assert changed.version == 2
    stale = change_deal.sync(deal_id, client=client, body=sold, if_match=tag)
    assert isinstance(stale, ErrorEnvelope)
    assert stale.error.code == "PRECONDITION_FAILED"
    return deal_id


def assert_invalid_deal_is_refused(client: AuthenticatedClient, hotel: HotelResponse) -> None:
    wrong = create_deal.sync_detailed(client=client, body=new_deal(hotel, "100.00", stars=6))
    assert wrong.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert isinstance(wrong.parsed, ErrorEnvelope)
    assert wrong.parsed.error.details == [
        ErrorDetailBody(field="body.star_rating", message="Input should be less than or equal to 5")
    ]


def delete(client: AuthenticatedClient, deal_id: int) -> None:
    gone = delete_deal.sync_detailed(deal_id, client=client)
    assert gone.status_code == HTTPStatus.NO_CONTENT
    missing = get_deal.sync(deal_id, client=client)
    assert isinstance(missing, ErrorEnvelope)
    assert missing.error.message == f"Deal {deal_id} does not exist"


def upload(client: AuthenticatedClient) -> None:
    file = File(payload=BytesIO(b"id,hotel_name\n"), file_name="deals.csv")
    made = create_import.sync(client=client, body=file)
    assert isinstance(made, ImportResponse), made
    assert made.state == "queued"


def main() -> None:
    url, key = sys.argv[1:]
    with AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True) as client:
        hotel = create_hotel_with_deals(client)
        deal_id = read_and_change(client)
        assert_invalid_deal_is_refused(client, hotel)
        delete(client, deal_id)
        upload(client)
    sys.stdout.write("all done\n")


if __name__ == "__main__":
    main()
