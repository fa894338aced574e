"""The page of deals."""

import gzip
import re
from html import unescape
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from tests.conftest import app_client
from tests.routers.bodies import DEAL, HOTEL
from tests.web.pages import linked_urls, main_text, statement_count

from app.core.config import Settings
from app.main import create_app

pytestmark = pytest.mark.api

HOSTILE = "<script>alert(1)</script>\"'"


def deal_ids(page: httpx.Response) -> list[int]:
    return [int(number) for number in re.findall(r'id="deal-(\d+)"', page.text)]


@pytest.mark.parametrize("path", ["/", "/dashboard"])
async def test_deals_page_without_query_shows_first_20_deals(
    client: httpx.AsyncClient, path: str
) -> None:
    page = await client.get(path)
    found = (await client.get("/deals")).json()

    assert page.status_code == 200
    assert deal_ids(page) == [deal["id"] for deal in found["items"]]
    assert f"1–20 of {found['total']} deals" in main_text(page)
    for deal in found["items"]:
        assert deal["price_per_night"] in page.text


@pytest.mark.parametrize(
    "query",
    [
        {"city": "zürich"},
        {"city": "nowhere"},
        {"country": "Germany", "min_stars": "2.5"},
        {"price_min": "50", "price_max": "400.50", "available_only": "true"},
        {"category": ["luxury", "boutique"], "sort": "-price_per_night"},
        {"hotel_id": "3"},
        {"room_type": "suite", "min_discount": "10"},
        {"checkin_from": "2026-01-01", "checkin_to": "2026-12-31", "limit": "50"},
        {"q": "o'ha 100"},
        {"sort": "-discount_percent,price_per_night", "limit": "7", "skip": "14"},
        {"count": "none"},
        {"count": "estimated", "limit": "100"},
    ],
)
async def test_deals_page_with_query_shows_deals_of_api(
    client: httpx.AsyncClient, query: dict[str, Any]
) -> None:
    page = await client.get("/dashboard", params=query)
    found = (await client.get("/deals", params=query)).json()

    assert page.status_code == 200
    assert deal_ids(page) == [deal["id"] for deal in found["items"]]
    # The address has the state, and the form shows it.
    for name, value in query.items():
        if name not in {"skip", "count"}:
            for each in value if isinstance(value, list) else [value]:
                escaped = each.replace("'", "&#39;")
                assert f'value="{escaped}"' in page.text, name


async def test_deals_page_form_has_field_for_every_filter(client: httpx.AsyncClient) -> None:
    form = (await client.get("/")).text.partition("<form")[2].partition("</form>")[0]
    document = (await client.get("/openapi.json")).json()
    parameters = {each["name"] for each in document["paths"]["/deals"]["get"]["parameters"]}

    assert set(re.findall(r' name="(\w+)"', form)) == parameters - {"skip", "cursor", "count"}


async def test_deals_page_empty_fields_are_ignored(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard?q=&city=&price_min=&checkin_to=&sort=&limit=")

    assert deal_ids(page) == deal_ids(await client.get("/"))


@pytest.mark.parametrize(
    ("value", "checked"), [("true", True), ("1", True), ("0", False), ("off", False)]
)
async def test_dashboard_available_only_checkbox_follows_query(
    client: httpx.AsyncClient, value: str, checked: bool
) -> None:
    for path in ("/dashboard", "/dashboard/cities"):
        page = await client.get(path, params={"available_only": value})
        box = re.search(r'<input [^>]*name="available_only"[^>]*>', page.text)

        assert box is not None
        assert ("checked" in box[0]) is checked


async def test_request_log_of_pages_has_route_template(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/dashboard/imports/7")
        await client.get(next(a for a in linked_urls(await client.get("/")) if "/static/" in a))

    routes = [line["route"] for line in lines if line["event"] == "request"]
    assert routes == ["/dashboard/imports/{import_id}", "/", "/static/{address}"]


async def test_deals_page_uses_three_statements(client: httpx.AsyncClient) -> None:
    """One statement for the table with its total, one for the cities, one for the categories."""
    assert statement_count(await client.get("/?city=Berlin&sort=-price_per_night")) == 3


async def test_deals_page_next_links_lead_through_all_pages(client: httpx.AsyncClient) -> None:
    query = "limit=20&sort=-price_per_night&min_discount=1"
    every = (await client.get(f"/deals?{query.replace('20', '100')}")).json()["items"]
    page = await client.get(f"/dashboard?{query}&skip=40")
    # A new sort returns to the first page.
    address = f"/dashboard?{query}"
    assert address in linked_urls(page)
    found = []
    for _ in range(5):
        page = await client.get(address)
        found += deal_ids(page)
        match = re.search(r'href="([^"]+)" rel="next"', page.text)
        assert match is not None
        address = unescape(match[1])

    assert found == [deal["id"] for deal in every]
    match = re.search(r'href="([^"]+)">Last', page.text)
    assert match is not None
    last = await client.get(unescape(match[1]))
    assert deal_ids(last)
    assert 'rel="next"' not in last.text


async def test_deals_page_by_cursor_links_next_cursor(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/deals?limit=10")).json()["next_cursor"]
    page = await client.get("/dashboard", params={"limit": "10", "cursor": cursor})

    assert "10 deals" in main_text(page)
    [following] = [each for each in linked_urls(page) if "cursor=" in each]
    assert deal_ids(await client.get(following))[0] == deal_ids(page)[-1] + 1


async def test_deals_page_skip_past_end_links_first_page(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard?skip=100000")

    assert page.status_code == 200
    assert "The list ends before this page" in main_text(page)
    assert "/dashboard" in linked_urls(page)


async def test_deals_page_without_matches_shows_message(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard?city=nowhere")

    assert page.status_code == 200
    assert "No deal passes all these filters." in main_text(page)


@pytest.mark.parametrize(
    "query",
    [
        "price_min=abc",
        "price_min=9&price_max=5",
        "ctiy=berlin",
        "ctiy=berlin&limit=0&min_stars=6",
        "limit=101&sort=foo",
        "sort=id,id",
        "checkin_from=2026-02-30",
        "checkin_from=2026-02-03&checkin_to=2026-02-01",
        "category=%00&category=x",
        "hotel_id=1.5",
        "available_only=perhaps",
        "skip=-1",
        "cursor=x",
        "cursor=x&skip=5",
        "count=all",
        "q=%00",
        "min_discount=101&room_type=%20",
        "price_min=%3Cscript%3E&%3Cscript%3Ealert(1)%3C/script%3E=1",
        f"city={'x' * 300}",
    ],
)
async def test_deals_page_invalid_query_shows_messages_of_api(
    client: httpx.AsyncClient, query: str
) -> None:
    page = await client.get(f"/dashboard?{query}")
    answer = (await client.get(f"/deals?{query}")).json()["error"]

    assert page.status_code == 422
    said = main_text(page)
    assert "Nothing was searched for" in said
    for detail in answer["details"]:
        assert " ".join(detail["message"].split()) in said, detail
        field = detail["field"].removeprefix("query.").partition(".")[0]
        if field in {"price_min", "limit", "sort", "hotel_id", "q", "category", "city"}:
            assert f'id="{field}-wrong"' in page.text
        elif field in {"ctiy", "skip", "cursor", "count"}:
            assert detail["field"] in said
    # The rest of the page is still there.
    assert "Any of these categories" in said
    assert deal_ids(page) == []


async def test_deals_page_invalid_value_stays_in_field(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard?checkin_from=soon")

    assert re.search(
        r'<input id="checkin_from" name="checkin_from" type="text" value="soon"', page.text
    )
    assert 'aria-invalid="true" aria-describedby="checkin_from-wrong"' in page.text


async def test_dashboard_hostile_text_is_escaped(api: httpx.AsyncClient) -> None:
    hotel = {**HOTEL, "name": HOSTILE, "city": HOSTILE, "country": HOSTILE}
    made = (await api.post("/hotels", json=hotel)).json()
    deal = {**DEAL, "hotel_id": made["id"], "room_type": HOSTILE, "categories": [HOSTILE]}
    assert (await api.post("/deals", json=deal)).status_code == 201
    page = await api.get("/dashboard", params={"city": HOSTILE, "category": HOSTILE})
    cities = await api.get("/dashboard/cities")

    for each in (page, cities):
        linked_urls(each)
        assert "<script>alert" not in each.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;" in each.text
    assert len(deal_ids(page)) == 1


async def test_deals_page_with_assets_is_below_100_kb(client: httpx.AsyncClient) -> None:
    """The sum counts the compressed page and all assets of a first visit."""
    html = await client.get("/", headers={"Accept-Encoding": "gzip"})
    assert html.headers["content-encoding"] == "gzip"
    total = len(gzip.compress(html.content, 5))
    for address in linked_urls(html):
        if address.startswith("/static/"):
            total += len(gzip.compress((await client.get(address)).content))

    assert total < 100_000


async def test_unknown_page_returns_404(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard/nothing/here")

    assert page.status_code == 404
    assert "The page does not exist" in main_text(page)


async def test_deals_page_database_unavailable_returns_503(settings: Settings) -> None:
    away = SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    async with app_client(create_app(settings.model_copy(update={"database_url": away}))) as client:
        page = await client.get("/")

    assert page.status_code == 503
    assert page.headers["retry-after"] == "1"
    assert "The database is not available" in main_text(page)
    assert page.headers["x-request-id"] in page.text
