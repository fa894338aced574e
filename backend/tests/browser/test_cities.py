"""The chart of cities in a browser."""

import re

import pytest
from playwright.async_api import Page, expect
from tests.browser.conftest import Axe

pytestmark = pytest.mark.browser

CHART_DATA = "Chart.getChart(document.querySelector('#chart canvas')).data"
CHART_MATCHES_TABLE = """column => {
    const drawn = Chart.getChart(document.querySelector('#chart canvas'))?.data;
    const rows = [...document.querySelectorAll('#cities tbody tr')].slice(0, 25);
    const same = (some, others) => JSON.stringify(some) === JSON.stringify(others);
    return document.getElementById('chart').dataset.column === column && rows.length > 0
        && same(drawn?.labels, rows.map(row => row.dataset.city))
        && same(drawn?.datasets[0].data, rows.map(row => Number(row.dataset[column])));
}"""


async def expect_chart(page: Page, column: str) -> None:
    """Wait until the chart shows the data of the table."""
    await page.wait_for_function(CHART_MATCHES_TABLE, arg=column)
    await expect(page.locator("#chart canvas")).to_be_visible()


async def test_cities_page_chart_follows_column_filter_and_sort(page: Page) -> None:
    await page.goto("/dashboard/cities")
    await expect_chart(page, "avg_price")
    await page.get_by_label("Number of deals").check()
    await expect(page).to_have_url(re.compile(r"\?chart=deal_count$"))
    await expect_chart(page, "deal_count")
    all_deals = await page.evaluate(f"{CHART_DATA}.datasets[0].data")

    await page.get_by_label("Available only").check()
    await expect(page).to_have_url(re.compile(r"available_only=true&chart=deal_count$"))
    await expect_chart(page, "deal_count")
    assert sum(await page.evaluate(f"{CHART_DATA}.datasets[0].data")) < sum(all_deals)

    await page.get_by_role("columnheader", name="City").get_by_role("link").click()
    await expect(page).to_have_url(re.compile(r"sort=city$"))
    await expect_chart(page, "deal_count")
    await page.go_back()
    await expect(page).not_to_have_url(re.compile("sort="))
    await expect_chart(page, "deal_count")
    await page.reload()
    await expect_chart(page, "deal_count")
    await expect(page.get_by_label("Available only")).to_be_checked()


async def test_cities_page_city_link_shows_its_deals(page: Page) -> None:
    await page.goto("/dashboard/cities")
    await page.get_by_role("link", name="ZÜRICH", exact=True).click()

    await expect(page).to_have_title("Browse · Hotel deals")
    await expect(page.get_by_label("City", exact=True)).to_have_value("ZÜRICH")
    await expect(page.locator("table.cards tbody tr").first).to_contain_text(
        "zürich", ignore_case=True
    )


async def test_cities_page_without_javascript_shows_table(no_script_page: Page) -> None:
    await no_script_page.goto("/dashboard/cities")
    await no_script_page.get_by_label("Available only").check()
    await no_script_page.get_by_role("button", name="Show").click()

    await expect(no_script_page).to_have_url(re.compile("available_only=true"))
    await expect(no_script_page.locator("#cities tbody tr").first).to_be_visible()
    await expect(no_script_page.locator("#chart")).to_be_hidden()


async def test_cities_page_has_no_accessibility_violations(
    page: Page, dark_page: Page, phone_page: Page, axe: Axe
) -> None:
    for each in (page, dark_page, phone_page):
        await each.goto("/dashboard/cities")
        await expect_chart(each, "avg_price")
        assert await axe(each) == []
        assert await each.evaluate("document.documentElement.scrollWidth <= innerWidth")
