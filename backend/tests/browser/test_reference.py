"""`/docs` and `/redoc`, as the author of a client uses them."""

import json
import os
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect
from tests.browser.conftest import Axe, Screenshot, Visit
from tests.browser.page_log import PageLog
from tests.routers.bodies import DEAL
from tests.support.factories import insert_hotel
from tests.support.servers import RunningServer

from app.db.session import Database
from app.services.keys import KeyService

pytestmark = pytest.mark.browser

# Swagger UI prints this warning for a link to an operation with `_` in its id, and opens it.
UNDERSCORE_DEPRECATION = "Deprecated: escaping deep link whitespace with `_`"

# Swagger UI causes these violations itself: pale methods, a link inside a button, code that scrolls
# but takes no focus, lists of choices without a label. The page around it has none.
SWAGGER_UI_EXCEPTIONS = dict.fromkeys(
    ("color-contrast", "nested-interactive", "scrollable-region-focusable", "select-name"),
    ("#reference *",),
)
# ReDoc's examples scroll but take no focus.
REDOC_EXCEPTIONS = {"scrollable-region-focusable": ("#reference pre",)}
DARK_ON_LIGHT = "rgb(59, 65, 81)"
SUMMARY = ".opblock-summary-control"


@pytest.fixture
def optional_screenshot(request: pytest.FixtureRequest) -> Screenshot:
    """Return `screenshot` if `SCREENSHOTS` is set. Pictures of these long pages take seconds."""
    if os.environ.get("SCREENSHOTS"):
        kept: Screenshot = request.getfixturevalue("screenshot")
        return kept

    async def skip_screenshot(_page: Page, _name: str) -> bytes:
        return b""

    return skip_screenshot


async def list_operations(page: Page) -> list[tuple[str, str]]:
    """Return the tag and the id of every operation, tag by tag, in the order of the document."""
    answer = await page.request.get("/openapi.json")
    document: dict[str, Any] = await answer.json()
    found = [
        (operation["tags"][0], operation["operationId"])
        for path in document["paths"].values()
        for operation in path.values()
    ]
    tags = [tag["name"] for tag in document["tags"]]
    return sorted(found, key=lambda each: tags.index(each[0]))


async def open_operation(page: Page, tag: str, operation: str) -> Locator:
    block = page.locator(f"#operations-{tag}-{operation}")
    await block.locator(SUMMARY).click()
    await expect(block.get_by_role("button", name="Execute")).to_be_visible()
    return block


async def execute_operation(block: Locator, status: str) -> Locator:
    await block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table")
    await expect(answer.locator("tbody .response-col_status")).to_contain_text(status)
    return answer


async def authorize(page: Page, key: str) -> None:
    await page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    bearer = dialog.locator(".auth-container").filter(has_text="HTTPBearer")
    await bearer.get_by_role("textbox").fill(key)
    await bearer.get_by_role("button", name="Apply").click()
    await bearer.get_by_role("button", name="Close").click()


class TestSwaggerUI:
    async def test_operations_are_listed_in_document_order(self, page: Page) -> None:
        await page.goto("/docs")

        blocks = page.locator(".opblock")
        expected = await list_operations(page)
        await expect(blocks).to_have_count(len(expected))
        ids = await blocks.evaluate_all("blocks => blocks.map(block => block.id)")
        assert ids == [f"operations-{tag}-{operation}" for tag, operation in expected]
        await expect(page).to_have_title("Swagger UI · Hotel deals")
        await expect(page.get_by_role("link", name="Swagger UI")).to_have_attribute(
            "aria-current", "page"
        )
        await expect(page.locator("img[alt='Online validator badge']")).to_have_count(0)

    async def test_read_is_executed_and_shows_response(
        self, page: Page, optional_screenshot: Screenshot
    ) -> None:
        await page.goto("/docs")
        block = await open_operation(page, "deals", "list_deals")
        await block.get_by_placeholder("city").fill("berlin")

        answer = await execute_operation(block, "200")

        await expect(answer).to_contain_text('"items"')
        await expect(answer).to_contain_text('"Berlin"')
        await expect(answer).to_contain_text("x-request-id")
        await expect(answer).to_contain_text("Request duration")
        await expect(block.locator(".request-url")).to_contain_text("/deals?limit=20&city=berlin")
        await optional_screenshot(page, "docs-list-deals")

    async def test_write_with_key_succeeds_also_after_reload(
        self, visit: Visit, production_server: RunningServer, database: Database, page_log: PageLog
    ) -> None:
        async with database.uow.begin() as session:
            hotel = await insert_hotel(await session.connection())
            key = await KeyService(session).create("reader of the docs", ["deals:write"])
        page = await visit(production_server.url)
        await page.goto("/docs")
        block = await open_operation(page, "deals", "create_deal")
        body = {**DEAL, "hotel_id": hotel.id}
        await block.locator("textarea").fill(json.dumps(body))

        page_log.expect_error("401")
        await execute_operation(block, "401")
        await authorize(page, key)
        created = await execute_operation(block, "201")

        await expect(created).to_contain_text('"external_id": 17')
        # The address names the operation, so a reload opens it again.
        page_log.expect_error(UNDERSCORE_DEPRECATION)
        await page.reload()
        await expect(page.locator(".btn.authorize.locked")).to_be_visible()
        await block.locator("textarea").fill(json.dumps({**body, "external_id": 18}))
        await expect(await execute_operation(block, "201")).to_contain_text('"external_id": 18')

    async def test_deep_link_opens_operation(self, page: Page, page_log: PageLog) -> None:
        page_log.expect_error(UNDERSCORE_DEPRECATION)
        await page.goto("/docs#/deals/list_deals")

        block = page.locator("#operations-deals-list_deals")
        await expect(block.locator(SUMMARY)).to_be_in_viewport()
        await expect(page.get_by_role("button", name="Execute")).to_have_count(1)

    @pytest.mark.slow
    async def test_dark_color_scheme_is_followed(
        self, dark_page: Page, optional_screenshot: Screenshot
    ) -> None:
        await dark_page.goto("/docs")

        title = dark_page.get_by_role("heading", name="Hotel deals")
        await expect(title).not_to_have_css("color", DARK_ON_LIGHT)
        await optional_screenshot(dark_page, "docs-dark")
        await dark_page.emulate_media(color_scheme="light")
        await expect(title).to_have_css("color", DARK_ON_LIGHT)

    @pytest.mark.slow
    @pytest.mark.parametrize("colors", ["light", "dark"])
    async def test_own_parts_have_no_accessibility_violations(
        self, live_server: RunningServer, visit: Visit, page_log: PageLog, axe: Axe, colors: str
    ) -> None:
        page = await visit(live_server.url, color_scheme=colors)
        page_log.expect_error(UNDERSCORE_DEPRECATION)
        await page.goto("/docs#/deals/list_deals")
        await execute_operation(page.locator("#operations-deals-list_deals"), "200")

        assert await axe(page, except_for=SWAGGER_UI_EXCEPTIONS) == []


class TestRedoc:
    async def test_every_operation_is_shown(
        self, page: Page, optional_screenshot: Screenshot
    ) -> None:
        await page.goto("/redoc")

        for tag, operation in await list_operations(page):
            section = page.locator(f"[id='tag/{tag}/operation/{operation}']")
            await expect(section.get_by_role("heading", level=2).first).to_be_visible()
        await expect(page).to_have_title("ReDoc · Hotel deals")
        # The styles of the page are loaded.
        sidebar = page.locator(".menu-content")
        await expect(sidebar).to_have_css("position", "sticky")
        await expect(page.locator("img")).to_have_count(0)
        await optional_screenshot(page, "redoc")

    @pytest.mark.slow
    async def test_page_has_no_accessibility_violations(self, page: Page, axe: Axe) -> None:
        await page.goto("/redoc")
        await expect(page.locator("[data-section-id*='/operation/']")).to_have_count(
            len(await list_operations(page))
        )

        assert await axe(page, except_for=REDOC_EXCEPTIONS) == []


@pytest.mark.parametrize("path", ["/docs", pytest.param("/redoc", marks=pytest.mark.slow)])
async def test_reference_page_link_cannot_load_other_document(
    page: Page, page_log: PageLog, path: str
) -> None:
    names = ("url", "configUrl", "config", "urls.primaryName", "spec-url", "specUrl")
    hostile = "&".join(f"{name}=https://example.com/x" for name in names)
    expected = await list_operations(page)
    await page.goto(f"{path}?{hostile}#?{hostile}")

    shown = page.locator(".opblock" if path == "/docs" else "[data-section-id*='/operation/']")
    await expect(shown).to_have_count(len(expected))
    [document] = [url for url in page_log.requests if "/static/" not in url and path not in url]
    assert document.endswith("/openapi.json")
    assert page_log.foreign_requests() == []


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_reference_page_without_javascript_links_document(
    no_script_page: Page, path: str
) -> None:
    await no_script_page.goto(path)

    note = no_script_page.locator(".reference-note")
    await expect(note).to_be_visible()
    await note.get_by_role("link").click()
    await expect(no_script_page).to_have_url("/openapi.json")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_reference_page_on_phone_fits_screen(
    phone_page: Page, path: str, optional_screenshot: Screenshot
) -> None:
    await phone_page.goto(path)
    await expect(phone_page.get_by_role("heading", name="Hotel deals")).to_be_visible()

    assert await phone_page.evaluate("document.documentElement.scrollWidth") == 360
    await optional_screenshot(phone_page, f"{path[1:]}-phone")
