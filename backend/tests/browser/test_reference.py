"""`/docs` and `/redoc`, as somebody uses them who writes a client."""

import json
import os
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect
from tests.browser.conftest import Axe, Picture, Visit
from tests.browser.watching import Watch
from tests.routers.bodies import DEAL
from tests.support.factories import insert_hotel
from tests.support.servers import RunningServer

from app.db.session import Database
from app.services.keys import KeyService

pytestmark = pytest.mark.browser

# What Swagger UI says of a link to an operation whose id has one, before it opens that operation.
UNDERSCORE = "Deprecated: escaping deep link whitespace with `_`"

# Whatever is of Swagger UI's own making: pale methods, a link inside of a button, code that scrolls
# but takes no focus, lists of choices without a label. Ours is around it.
SWAGGERS_OWN = dict.fromkeys(
    ("color-contrast", "nested-interactive", "scrollable-region-focusable", "select-name"),
    ("#reference *",),
)
# Examples that scroll, but take no focus.
REDOCS_OWN = {"scrollable-region-focusable": ("#reference pre",)}
DARK_ON_LIGHT = "rgb(59, 65, 81)"
SUMMARY = ".opblock-summary-control"


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Picture:
    """Keep a picture where `SCREENSHOTS` says so: these are long pages, and take seconds."""
    if os.environ.get("SCREENSHOTS"):
        kept: Picture = request.getfixturevalue("screenshot")
        return kept

    async def none(_page: Page, _name: str) -> bytes:
        return b""

    return none


async def operations(page: Page) -> list[tuple[str, str]]:
    """Every operation's tag and id, in the order of the document, tag by tag."""
    answer = await page.request.get("/openapi.json")
    document: dict[str, Any] = await answer.json()
    found = [
        (operation["tags"][0], operation["operationId"])
        for path in document["paths"].values()
        for operation in path.values()
    ]
    tags = [tag["name"] for tag in document["tags"]]
    return sorted(found, key=lambda each: tags.index(each[0]))


async def opened(page: Page, tag: str, operation: str) -> Locator:
    block = page.locator(f"#operations-{tag}-{operation}")
    await block.locator(SUMMARY).click()
    await expect(block.get_by_role("button", name="Execute")).to_be_visible()
    return block


async def executed(block: Locator, status: str) -> Locator:
    await block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table")
    await expect(answer.locator("tbody .response-col_status")).to_contain_text(status)
    return answer


async def test_docs_lists_everything_in_the_documents_order(page: Page) -> None:
    await page.goto("/docs")

    blocks = page.locator(".opblock")
    everything = await operations(page)
    await expect(blocks).to_have_count(len(everything))
    ids = await blocks.evaluate_all("blocks => blocks.map(block => block.id)")
    assert ids == [f"operations-{tag}-{operation}" for tag, operation in everything]
    await expect(page).to_have_title("Swagger UI · Hotel deals")
    await expect(page.get_by_role("link", name="Swagger UI")).to_have_attribute(
        "aria-current", "page"
    )
    await expect(page.locator("img[alt='Online validator badge']")).to_have_count(0)


async def test_docs_tries_a_read_out(page: Page, picture: Picture) -> None:
    await page.goto("/docs")
    block = await opened(page, "deals", "list_deals")
    await block.get_by_placeholder("city").fill("berlin")

    answer = await executed(block, "200")

    await expect(answer).to_contain_text('"items"')
    await expect(answer).to_contain_text('"Berlin"')
    await expect(answer).to_contain_text("x-request-id")
    await expect(answer).to_contain_text("Request duration")
    await expect(block.locator(".request-url")).to_contain_text("/deals?limit=20&city=berlin")
    await picture(page, "docs-list-deals")


async def authorize(page: Page, key: str) -> None:
    await page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    bearer = dialog.locator(".auth-container").filter(has_text="HTTPBearer")
    await bearer.get_by_role("textbox").fill(key)
    await bearer.get_by_role("button", name="Apply").click()
    await bearer.get_by_role("button", name="Close").click()


async def test_docs_writes_with_a_key_and_remembers_it(
    visit: Visit, own_live: RunningServer, database: Database, watch: Watch
) -> None:
    async with database.transaction() as session:
        hotel = await insert_hotel(await session.connection())
        key = await KeyService(session).create("reader of the docs", ["deals:write"])
    page = await visit(own_live.url)
    await page.goto("/docs")
    block = await opened(page, "deals", "create_deal")
    body = {**DEAL, "hotel_id": hotel.id}
    await block.locator("textarea").fill(json.dumps(body))

    watch.expect("401")
    await executed(block, "401")
    await authorize(page, key)
    created = await executed(block, "201")

    await expect(created).to_contain_text('"external_id": 17')
    # Its address names the operation by now, which is open after a reload.
    watch.expect(UNDERSCORE)
    await page.reload()
    await expect(page.locator(".btn.authorize.locked")).to_be_visible()
    await block.locator("textarea").fill(json.dumps({**body, "external_id": 18}))
    await expect(await executed(block, "201")).to_contain_text('"external_id": 18')


async def test_docs_opens_what_a_link_says(page: Page, watch: Watch) -> None:
    watch.expect(UNDERSCORE)
    await page.goto("/docs#/deals/list_deals")

    block = page.locator("#operations-deals-list_deals")
    await expect(block.locator(SUMMARY)).to_be_in_viewport()
    await expect(page.get_by_role("button", name="Execute")).to_have_count(1)


@pytest.mark.parametrize("path", ["/docs", pytest.param("/redoc", marks=pytest.mark.slow)])
async def test_a_link_cannot_bring_another_document(page: Page, watch: Watch, path: str) -> None:
    names = ("url", "configUrl", "config", "urls.primaryName", "spec-url", "specUrl")
    hostile = "&".join(f"{name}=https://example.com/x" for name in names)
    everything = await operations(page)
    await page.goto(f"{path}?{hostile}#?{hostile}")

    shown = page.locator(".opblock" if path == "/docs" else "[data-section-id*='/operation/']")
    await expect(shown).to_have_count(len(everything))
    [document] = [url for url in watch.requests if "/static/" not in url and path not in url]
    assert document.endswith("/openapi.json")
    assert watch.elsewhere() == []


async def test_redoc_shows_every_operation(page: Page, picture: Picture) -> None:
    await page.goto("/redoc")

    for tag, operation in await operations(page):
        section = page.locator(f"[id='tag/{tag}/operation/{operation}']")
        await expect(section.get_by_role("heading", level=2).first).to_be_visible()
    await expect(page).to_have_title("ReDoc · Hotel deals")
    # Its styles are there.
    sidebar = page.locator(".menu-content")
    await expect(sidebar).to_have_css("position", "sticky")
    await expect(page.locator("img")).to_have_count(0)
    await picture(page, "redoc")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_without_scripts_there_is_a_word_and_a_link(plain_page: Page, path: str) -> None:
    await plain_page.goto(path)

    note = plain_page.locator(".reference-note")
    await expect(note).to_be_visible()
    await note.get_by_role("link").click()
    await expect(plain_page).to_have_url("/openapi.json")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_on_a_phone_nothing_is_wider_than_it(
    phone_page: Page, path: str, picture: Picture
) -> None:
    await phone_page.goto(path)
    await expect(phone_page.get_by_role("heading", name="Hotel deals")).to_be_visible()

    assert await phone_page.evaluate("document.documentElement.scrollWidth") == 360
    await picture(phone_page, f"{path[1:]}-phone")


@pytest.mark.slow
async def test_docs_comes_in_dark(dark_page: Page, picture: Picture) -> None:
    await dark_page.goto("/docs")

    title = dark_page.get_by_role("heading", name="Hotel deals")
    await expect(title).not_to_have_css("color", DARK_ON_LIGHT)
    await picture(dark_page, "docs-dark")
    await dark_page.emulate_media(color_scheme="light")
    await expect(title).to_have_css("color", DARK_ON_LIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("colors", ["light", "dark"])
async def test_all_can_use_what_is_ours_of_docs(
    live: RunningServer, visit: Visit, watch: Watch, axe: Axe, colors: str
) -> None:
    page = await visit(live.url, color_scheme=colors)
    watch.expect(UNDERSCORE)
    await page.goto("/docs#/deals/list_deals")
    await executed(page.locator("#operations-deals-list_deals"), "200")

    assert await axe(page, except_for=SWAGGERS_OWN) == []


@pytest.mark.slow
async def test_all_can_use_redoc(page: Page, axe: Axe) -> None:
    await page.goto("/redoc")
    await expect(page.locator("[data-section-id*='/operation/']")).to_have_count(
        len(await operations(page))
    )

    assert await axe(page, except_for=REDOCS_OWN) == []
