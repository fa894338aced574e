"""The table of deals, as people use it."""

import re

import pytest
from playwright.async_api import Page, expect
from tests.browser.conftest import Axe
from tests.browser.watching import Watch
from tests.support.servers import RunningServer

pytestmark = pytest.mark.browser

ROWS = "table.cards tbody tr"


async def ids(page: Page) -> list[str]:
    return [await row.get_attribute("id") or "" for row in await page.locator(ROWS).all()]


async def found(live: RunningServer, query: str) -> list[str]:
    async with live.client() as client:
        items = (await client.get(f"/deals?{query}")).json()["items"]
    return [f"deal-{deal['id']}" for deal in items]


async def has_rows(page: Page, expected: list[str]) -> None:
    """These deals, in this order; each is waited for, because some may have been there before."""
    await expect(page.locator(ROWS)).to_have_count(len(expected))
    for number, row in enumerate(expected):
        await expect(page.locator(ROWS).nth(number)).to_have_attribute("id", row)


async def shows(page: Page, live: RunningServer, query: str) -> None:
    """The page has this address, and the deals that the API has for it."""
    await expect(page).to_have_url(re.compile(re.escape(f"/dashboard?{query}") + "$"))
    await has_rows(page, await found(live, query))


async def test_filter_turn_the_page_sort_go_back_reload(page: Page, live: RunningServer) -> None:
    await page.goto("/")
    await page.evaluate("window.loaded = 'once'")
    await page.get_by_label("Price to").fill("800")
    await page.get_by_label("Price to").press("Enter")
    await shows(page, live, "price_max=800")
    await page.get_by_label("Country").fill("")
    await page.get_by_label("On a page").select_option("10")
    await shows(page, live, "price_max=800&limit=10")
    await page.get_by_role("link", name="Next").click()
    await shows(page, live, "price_max=800&limit=10&skip=10")
    await page.get_by_role("columnheader", name="Price a night").get_by_role("link").click()
    await shows(page, live, "price_max=800&limit=10&sort=price_per_night")
    assert await page.evaluate("window.loaded") == "once"

    await page.go_back()
    await shows(page, live, "price_max=800&limit=10&skip=10")
    await page.go_back()
    await shows(page, live, "price_max=800&limit=10")
    await page.go_forward()
    await shows(page, live, "price_max=800&limit=10&skip=10")
    await page.reload()
    await shows(page, live, "price_max=800&limit=10&skip=10")
    await expect(page.get_by_label("Price to")).to_have_value("800")
    await expect(page.get_by_label("On a page")).to_have_value("10")


async def test_a_city_is_suggested_and_found(page: Page, live: RunningServer) -> None:
    await page.goto("/")
    city = await page.locator("#cities option").first.get_attribute("value")
    assert city is not None
    await page.get_by_label("City", exact=True).fill(f" {city} ")
    await page.get_by_label("City", exact=True).press("Tab")

    await has_rows(page, await found(live, f"city={city}"))
    await page.get_by_role("link", name="Clear all").click()
    await expect(page.get_by_label("City", exact=True)).to_have_value("")


async def test_enter_is_one_step_of_the_history(page: Page) -> None:
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


async def test_what_is_wrong_is_said_beside_the_field(page: Page, watch: Watch) -> None:
    watch.expect("422")
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


async def test_an_address_typed_by_hand(page: Page, watch: Watch) -> None:
    watch.expect("422")
    await page.goto("/dashboard?ctiy=berlin&checkin_from=soon&sort=-price_per_night")

    await expect(page.get_by_role("alert").filter(has_text="query.ctiy")).to_be_visible()
    await expect(page.get_by_label("Check-in from")).to_have_value("soon")
    await expect(page.get_by_label("Sort by")).to_have_value("-price_per_night")


async def test_the_service_goes_away(page: Page, watch: Watch) -> None:
    watch.expect("ERR_CONNECTION_REFUSED|ERR_FAILED|503|htmx")
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


async def test_without_javascript(plain_page: Page, live: RunningServer) -> None:
    await plain_page.goto("/")
    await plain_page.get_by_label("Price to").fill("800")
    await plain_page.get_by_label("Sort by").select_option("-discount_percent")
    await plain_page.get_by_role("button", name="Show").click()
    await plain_page.get_by_role("link", name="Next").click()

    await expect(plain_page).to_have_url(re.compile("skip=20"))
    await expect(plain_page.get_by_label("Price to")).to_have_value("800")
    query = "price_max=800&sort=-discount_percent&skip=20"
    await has_rows(plain_page, await found(live, query))


async def test_the_keyboard_goes_to_the_content(page: Page) -> None:
    await page.goto("/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("main")).to_be_focused()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?city=nowhere", "?price_min=x&y=1"])
async def test_everybody_can_use_it(
    page: Page, dark_page: Page, phone_page: Page, axe: Axe, watch: Watch, query: str
) -> None:
    watch.expect("422")
    for each in (page, dark_page, phone_page):
        await each.goto(f"/dashboard{query}")
        assert await axe(each) == []


async def test_a_phone_shows_all_of_it(phone_page: Page) -> None:
    await phone_page.goto("/")

    assert await phone_page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(phone_page.locator(ROWS).first).to_contain_text("night")
    # The deals come first; the filters are a touch away, and stay while one is at them.
    filters = phone_page.get_by_label("Price to")
    await expect(filters).to_be_hidden()
    await phone_page.get_by_text("Filters and order").tap()
    await filters.fill("500")
    await filters.press("Enter")
    await expect(phone_page).to_have_url(re.compile("price_max=500$"))
    await expect(filters).to_be_visible()
