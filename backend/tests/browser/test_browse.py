"""The page of deals in a browser."""

import re

import pytest
from playwright.async_api import Page, expect
from tests.browser.conftest import Axe
from tests.browser.page_log import PageLog
from tests.support.servers import RunningServer

pytestmark = pytest.mark.browser

ROWS = "table.cards tbody tr"


async def fetch_row_ids(live_server: RunningServer, query: str) -> list[str]:
    async with live_server.client() as client:
        items = (await client.get(f"/deals?{query}")).json()["items"]
    return [f"deal-{deal['id']}" for deal in items]


async def expect_rows(page: Page, expected: list[str]) -> None:
    """Wait for these deals in this order, each by its id, while old rows may still be there."""
    await expect(page.locator(ROWS)).to_have_count(len(expected))
    for number, row in enumerate(expected):
        await expect(page.locator(ROWS).nth(number)).to_have_attribute("id", row)


async def expect_deals_of_api(page: Page, live_server: RunningServer, query: str) -> None:
    """Wait until the page has this address and shows the deals that the API returns for it."""
    await expect(page).to_have_url(re.compile(re.escape(f"/dashboard?{query}") + "$"))
    await expect_rows(page, await fetch_row_ids(live_server, query))


async def test_deals_page_filter_page_sort_back_and_reload_match_api(
    page: Page, live_server: RunningServer
) -> None:
    await page.goto("/")
    await page.evaluate("window.loaded = 'once'")
    await page.get_by_label("Price to").fill("800")
    await page.get_by_label("Price to").press("Enter")
    await expect_deals_of_api(page, live_server, "price_max=800")
    await page.get_by_label("Country").fill("")
    await page.get_by_label("On a page").select_option("10")
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10")
    await page.get_by_role("link", name="Next").click()
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10&skip=10")
    await page.get_by_role("columnheader", name="Price a night").get_by_role("link").click()
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10&sort=price_per_night")
    assert await page.evaluate("window.loaded") == "once"

    await page.go_back()
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10&skip=10")
    await page.go_back()
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10")
    await page.go_forward()
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10&skip=10")
    await page.reload()
    await expect_deals_of_api(page, live_server, "price_max=800&limit=10&skip=10")
    await expect(page.get_by_label("Price to")).to_have_value("800")
    await expect(page.get_by_label("On a page")).to_have_value("10")


async def test_deals_page_suggested_city_filters_deals(
    page: Page, live_server: RunningServer
) -> None:
    await page.goto("/")
    city = await page.locator("#cities option").first.get_attribute("value")
    assert city is not None
    await page.get_by_label("City", exact=True).fill(f" {city} ")
    await page.get_by_label("City", exact=True).press("Tab")

    await expect_rows(page, await fetch_row_ids(live_server, f"city={city}"))
    await page.get_by_role("link", name="Clear all").click()
    await expect(page.get_by_label("City", exact=True)).to_have_value("")


async def test_deals_page_enter_adds_one_history_entry(page: Page) -> None:
    await page.goto("/dashboard")
    before = await page.evaluate("history.length")
    await page.get_by_label("Price from").fill("10")
    await page.get_by_label("Price from").press("Enter")
    await expect(page).to_have_url(re.compile("price_min=10$"))
    await page.get_by_role("button", name="Show").click()
    await page.get_by_label("Price from").fill("20")
    await page.get_by_label("Price from").press("Enter")
    await expect(page).to_have_url(re.compile("price_min=20$"))

    assert await page.evaluate("history.length") == before + 2


async def test_deals_page_invalid_value_shows_error_beside_field(
    page: Page, page_log: PageLog
) -> None:
    page_log.expect_error("422")
    await page.goto("/")
    await page.get_by_label("Price from").fill("many")
    await page.get_by_label("Price from").press("Enter")

    field = page.get_by_label("Price from")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_have_accessible_description(re.compile("valid decimal"))
    await expect(page.get_by_text("Nothing was searched for")).to_be_visible()
    await field.fill("1")
    await field.press("Enter")
    await expect(page.locator(ROWS).first).to_be_visible()
    await expect(field).not_to_have_attribute("aria-invalid", "true")


async def test_deals_page_invalid_address_shows_errors(page: Page, page_log: PageLog) -> None:
    page_log.expect_error("422")
    await page.goto("/dashboard?ctiy=berlin&checkin_from=soon&sort=-price_per_night")

    await expect(page.get_by_role("alert").filter(has_text="query.ctiy")).to_be_visible()
    await expect(page.get_by_label("Check-in from")).to_have_value("soon")
    await expect(page.get_by_label("Sort by")).to_have_value("-price_per_night")


async def test_deals_page_service_unreachable_shows_message_and_recovers(
    page: Page, page_log: PageLog
) -> None:
    page_log.expect_error("ERR_CONNECTION_REFUSED|ERR_FAILED|503|htmx")
    await page.goto("/")
    await page.route("**/dashboard?**", lambda route: route.abort("connectionrefused"))
    await page.get_by_label("Price to").fill("500")
    await page.get_by_label("Price to").press("Enter")

    await expect(page.get_by_text("The service does not answer. Try again.")).to_be_visible()
    await expect(page.locator(ROWS).first).to_be_visible()
    await page.unroute("**/dashboard?**")
    await page.get_by_role("button", name="Show").click()
    await expect(page).to_have_url(re.compile("price_max=500$"))
    await expect(page.get_by_text("The service does not answer.")).to_be_hidden()


async def test_deals_page_without_javascript_filters_sorts_and_pages(
    no_script_page: Page, live_server: RunningServer
) -> None:
    await no_script_page.goto("/")
    await no_script_page.get_by_label("Price to").fill("800")
    await no_script_page.get_by_label("Sort by").select_option("-discount_percent")
    await no_script_page.get_by_role("button", name="Show").click()
    await no_script_page.get_by_role("link", name="Next").click()

    await expect(no_script_page).to_have_url(re.compile("skip=20"))
    await expect(no_script_page.get_by_label("Price to")).to_have_value("800")
    query = "price_max=800&sort=-discount_percent&skip=20"
    await expect_rows(no_script_page, await fetch_row_ids(live_server, query))


async def test_deals_page_skip_link_focuses_content(page: Page) -> None:
    await page.goto("/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("main")).to_be_focused()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?city=nowhere", "?price_min=x&y=1"])
async def test_deals_page_has_no_accessibility_violations(
    page: Page, dark_page: Page, phone_page: Page, axe: Axe, page_log: PageLog, query: str
) -> None:
    page_log.expect_error("422")
    for each in (page, dark_page, phone_page):
        await each.goto(f"/dashboard{query}")
        assert await axe(each) == []


async def test_deals_page_on_phone_fits_and_filters(phone_page: Page) -> None:
    await phone_page.goto("/")

    assert await phone_page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(phone_page.locator(ROWS).first).to_contain_text("night")
    # On a phone the filters are closed at first. They stay open while one of them has the focus.
    filters = phone_page.get_by_label("Price to")
    await expect(filters).to_be_hidden()
    await phone_page.get_by_text("Filters and order").tap()
    await filters.fill("500")
    await filters.press("Enter")
    await expect(phone_page).to_have_url(re.compile("price_max=500$"))
    await expect(filters).to_be_visible()
