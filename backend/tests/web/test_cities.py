"""The page of average prices by city."""

import re
from decimal import Decimal

import httpx
import pytest
from tests.web.pages import linked_urls, main_text, statement_count

pytestmark = pytest.mark.api

Row = tuple[str, str, str]


def table_rows(page: httpx.Response) -> list[Row]:
    pattern = r'data-city="([^"]*)" data-avg_price="([^"]*)" data-deal_count="([^"]*)"'
    return re.findall(pattern, page.text)


@pytest.mark.parametrize("query", ["", "?available_only=true"])
async def test_cities_page_shows_statistics_of_api(client: httpx.AsyncClient, query: str) -> None:
    page = await client.get(f"/dashboard/cities{query}")
    found = (await client.get(f"/deals/stats{query}")).json()

    assert table_rows(page) == [
        (each["city"], each["avg_price"], str(each["deal_count"])) for each in found
    ]
    assert statement_count(page) == 1


@pytest.mark.parametrize(("column", "index"), [("city", 0), ("avg_price", 1), ("deal_count", 2)])
async def test_cities_page_sort_parameter_orders_rows(
    client: httpx.AsyncClient, column: str, index: int
) -> None:
    def value(row: Row) -> str | Decimal:
        return row[0].casefold() if index == 0 else Decimal(row[index])

    up = table_rows(await client.get(f"/dashboard/cities?sort={column}"))
    down = table_rows(await client.get(f"/dashboard/cities?sort=-{column}"))

    assert [value(row) for row in up] == sorted(value(row) for row in up)
    assert [value(row) for row in down] == sorted((value(row) for row in up), reverse=True)
    assert len(up) > 2


async def test_cities_page_headers_reverse_sort_and_keep_query(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard/cities?available_only=true&sort=city&chart=deal_count")

    links = [each for each in linked_urls(page) if each.startswith("/dashboard/cities?")]
    assert links == [
        f"/dashboard/cities?available_only=true&chart=deal_count&sort={sort}"
        for sort in ("-city", "-avg_price", "-deal_count")
    ]
    assert 'aria-sort="ascending"' in page.text
    assert 'data-column="deal_count"' in page.text


async def test_cities_page_links_city_to_its_deals(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard/cities")

    assert "/dashboard?city=Z%C3%9CRICH" in linked_urls(page)


@pytest.mark.parametrize("query", ["available_only=perhaps", "ctiy=1", "sort=price", "chart=pie"])
async def test_cities_page_invalid_query_returns_422_with_messages(
    client: httpx.AsyncClient, query: str
) -> None:
    page = await client.get(f"/dashboard/cities?{query}")

    assert page.status_code == 422
    said = main_text(page)
    assert "Input should be" in said or "query.ctiy : There is no such field" in said
    assert "Available only" in said
    answer = await client.get(f"/deals/stats?{query}")
    if query.startswith("available_only"):
        assert answer.json()["error"]["details"][0]["message"] in said


async def test_cities_page_empty_database_shows_message(api: httpx.AsyncClient) -> None:
    page = await api.get("/dashboard/cities")

    assert page.status_code == 200
    assert "No city has any deals" in main_text(page)
