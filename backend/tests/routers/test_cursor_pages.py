"""Keyset pages: complete, bound to their query, and stable while rows change."""

import random
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import URL, text
from tests.conftest import Catalog, app_client
from tests.support.databases import as_text
from tests.support.factories import DealFactory, HotelFactory, insert_catalog, insert_deal

from app.core.config import Settings
from app.db.session import Database
from app.main import create_app
from app.schemas.deals import SORT_FIELDS

pytestmark = pytest.mark.api

SORTS = [f"{sign}{field}" for field in SORT_FIELDS for sign in ("", "-")]
# Sorts by an id, by a number with many ties, by a price and by a time, in both directions.
QUICK_TIER_SORTS = {"id", "-star_rating", "price_per_night", "-created_at"}


async def follow_cursors(client: httpx.AsyncClient, url: str) -> list[int]:
    """Return the ids along `next_cursor`, and check that `Link` has the same cursors."""
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        place = {"cursor": cursor} if cursor else {}
        response = await client.get(url, params=place)
        assert response.status_code == 200, response.text
        page = response.json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        assert ("next" in response.links) == (cursor is not None)
        if place:
            assert (page["skip"], page["total"]) == (None, None)
            assert cursor is None or f"cursor={cursor}" in response.links["next"]["url"]
            assert "cursor" not in response.links["first"]["url"]
    return seen


@pytest.mark.parametrize("sort", [*SORTS, "-star_rating,price_per_night", "checkin_date,-id"])
async def test_list_deals_by_cursor_returns_all_in_order(
    client: httpx.AsyncClient, catalog: Catalog, sort: str
) -> None:
    client.params = httpx.QueryParams(sort=sort, limit=23)
    try:
        seen = await follow_cursors(client, "/deals")
    finally:
        client.params = httpx.QueryParams()
    pages = [
        (await client.get(f"/deals?limit=100&skip={skip}&sort={sort}")).json()["items"]
        for skip in range(0, len(catalog.deals), 100)
    ]

    assert seen == [deal["id"] for page in pages for deal in page]
    assert len(seen) == len(set(seen)) == len(catalog.deals)


async def test_list_hotels_by_cursor_returns_all(
    client: httpx.AsyncClient, catalog: Catalog
) -> None:
    first = (await client.get("/hotels?limit=6")).json()
    second = (await client.get(f"/hotels?limit=100&cursor={first['next_cursor']}")).json()

    ids = [hotel["id"] for hotel in first["items"] + second["items"]]
    assert ids == sorted(catalog.hotels)
    assert second["next_cursor"] is None


async def test_cursor_page_with_exact_count_returns_total(
    client: httpx.AsyncClient, catalog: Catalog
) -> None:
    cursor = (await client.get("/deals?limit=1")).json()["next_cursor"]

    page = (await client.get(f"/deals?limit=1&count=exact&cursor={cursor}")).json()

    assert page["total"] == len(catalog.deals)


async def test_cursor_of_other_query_returns_422(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/deals?limit=1&city=berlin&sort=-id")).json()["next_cursor"]
    good = f"/deals?city=berlin&sort=-id&cursor={cursor}"
    assert (await client.get(good)).status_code == 200
    assert (await client.get(f"{good}&limit=100")).status_code == 200

    for wrong in (
        f"/deals?city=paris&sort=-id&cursor={cursor}",
        f"/deals?city=berlin&sort=id&cursor={cursor}",
        f"/deals?city=berlin&sort=-id&min_discount=1&cursor={cursor}",
        f"/deals?city=berlin&sort=-id&cursor={cursor[:-1]}",
        f"/deals?city=berlin&sort=-id&cursor={'A' + cursor[1:]}x",
        f"/hotels?city=berlin&cursor={cursor}",
        "/deals?cursor=",
        "/deals?cursor=%00",
        "/deals?cursor=" + "A" * 1001,
    ):
        response = await client.get(wrong)
        assert response.status_code == 422, wrong
        assert response.json()["error"]["details"][0]["field"] == "query.cursor"


async def test_cursor_with_skip_returns_422(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/deals?limit=1")).json()["next_cursor"]

    response = await client.get(f"/deals?skip=0&cursor={cursor}")

    assert response.status_code == 422
    assert "exclude" in response.json()["error"]["details"][0]["message"]


@pytest.mark.parametrize(
    "sort",
    [
        pytest.param(sort, marks=[] if sort in QUICK_TIER_SORTS else [pytest.mark.slow])
        for sort in SORTS
    ],
)
async def test_list_deals_by_cursor_while_rows_change_returns_each_once(
    database: Database, clone_url: URL, settings: Settings, sort: str
) -> None:
    """Between two pages rows appear and disappear. No other row is repeated or missed."""
    async with database.uow.begin() as session:
        deals = await insert_catalog(
            await session.connection(), HotelFactory.batch(4), deals_per_hotel=15
        )
    choice = random.Random(sort)  # noqa: S311 - which rows go, not a secret
    going = choice.sample(deals, 20)
    staying = {deal.id for deal in deals} - {deal.id for deal in going}
    url = SecretStr(as_text(clone_url))
    seen: list[int] = []
    async with app_client(create_app(settings.model_copy(update={"database_url": url}))) as client:
        place: dict[str, Any] = {"limit": 7, "sort": sort}
        while True:
            page = (await client.get("/deals", params=place)).json()
            seen += [deal["id"] for deal in page["items"]]
            if page["next_cursor"] is None:
                break
            place["cursor"] = page["next_cursor"]
            async with database.uow.begin() as session:
                if going:
                    gone = {"ids": [going.pop().id for _ in range(min(3, len(going)))]}
                    await session.execute(text("DELETE FROM deals WHERE id = ANY(:ids)"), gone)
                if len(seen) < 60:
                    new = DealFactory.build(hotel_id=deals[0].hotel_id)
                    await insert_deal(await session.connection(), new)

    assert set(seen) >= staying
    assert len(seen) == len(set(seen))
