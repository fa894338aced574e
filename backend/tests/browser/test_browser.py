"""The checks that fail any browser test: foreign requests, errors, accessibility violations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Axe, Screenshot
from tests.browser.page_log import PageLog, open_page
from tests.support.servers import RunningServer

pytestmark = pytest.mark.browser

STRICT_POLICY = "default-src 'self'; img-src 'self' data:"
PAGE_START = "<!doctype html><html lang=en><title>A page</title><link rel=icon href=data:,><main>"


@asynccontextmanager
async def page_with_body(
    browser: Browser, live_server: RunningServer, body: str, policy: str = STRICT_POLICY
) -> AsyncIterator[tuple[Page, PageLog]]:
    """Open a page for which the server answers `/page` with `body`."""
    page_log = PageLog()
    async with open_page(browser, live_server.url, page_log) as page:
        await page.route(
            "**/page",
            lambda route: route.fulfill(
                body=PAGE_START + body,
                content_type="text/html",
                headers={"Content-Security-Policy": policy},
            ),
        )
        yield page, page_log


async def test_page_log_of_clean_page_has_no_errors(
    browser: Browser, live_server: RunningServer, axe: Axe
) -> None:
    async with page_with_body(browser, live_server, "<h1>Hello</h1>") as (page, page_log):
        await page.goto("/page")
        assert await axe(page) == []

    assert page_log.requests == [f"{live_server.url}/page"]
    assert page_log.foreign_requests() == []
    assert page_log.unexpected_errors() == []


@pytest.fixture
async def other_host() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Start another server, and yield its address and the list of requests that it gets."""
    asked: list[bytes] = []

    async def record_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Chromium may open a connection in advance. Only a request line is a request.
        if line := await reader.readline():
            asked.append(line)
        writer.close()

    async with await asyncio.start_server(record_request, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/x", asked


@pytest.mark.parametrize(
    "body",
    [
        "<img alt='' src=URL>",
        "<iframe src=URL></iframe>",
        "<link rel=stylesheet href=URL>",
        "<script>import('URL').catch(String)</script>",
        "<script>new Worker('data:,fetch(`URL`)')</script>",
    ],
)
async def test_page_log_request_to_other_host_is_recorded_and_blocked(
    browser: Browser, live_server: RunningServer, body: str, other_host: tuple[str, list[bytes]]
) -> None:
    url, asked = other_host
    async with (
        page_with_body(browser, live_server, body.replace("URL", url), policy="") as (
            page,
            page_log,
        ),
        page.expect_event("requestfailed", lambda request: request.url == url),
    ):
        await page.goto("/page")

    assert page_log.foreign_requests() == [url]
    assert asked == []


async def test_page_log_websocket_to_other_host_is_recorded(
    browser: Browser, live_server: RunningServer
) -> None:
    body = "<script>new WebSocket('wss://example.com/x')</script>"
    async with page_with_body(browser, live_server, body, policy="") as (page, page_log):
        await page.goto("/page")

    assert page_log.foreign_requests() == ["wss://example.com/x"]
    assert "ERR_NAME_NOT_RESOLVED" in page_log.unexpected_errors()[0]


async def test_browser_other_host_is_not_resolved(
    browser: Browser, live_server: RunningServer
) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
            await page.goto("https://example.com/")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<script>1</script>", "Content Security Policy"),
        ("<p style='color: red'>", "Content Security Policy"),
        ("<img alt='' src=https://example.com/x>", "Content Security Policy"),
        ("<img alt='' src=/nothing>", "404"),
    ],
)
async def test_page_log_policy_violation_is_recorded(
    browser: Browser, live_server: RunningServer, body: str, complaint: str
) -> None:
    async with page_with_body(browser, live_server, body) as (page, page_log):
        await page.goto("/page")

    assert len(page_log.unexpected_errors()) == 1
    page_log.expect_error(complaint)
    assert page_log.unexpected_errors() == []


async def test_page_log_script_error_is_recorded(
    browser: Browser, live_server: RunningServer
) -> None:
    body = "<script>throw Error('one')</script><script>Promise.reject(Error('two'))</script>"
    async with page_with_body(browser, live_server, body, policy="") as (page, page_log):
        await page.goto("/page")

    assert [text.splitlines()[0] for text in page_log.unexpected_errors()] == ["one", "two"]


async def test_axe_unlabelled_buttons_are_found_unless_excepted(
    browser: Browser, live_server: RunningServer, axe: Axe
) -> None:
    body = "<h1>Hello</h1><button class=bad></button><button></button>"
    async with page_with_body(browser, live_server, body) as (page, _):
        await page.goto("/page")
        found = await axe(page)
        excused = await axe(page, except_for={"button-name": (".bad",)})

    assert [line.split(":")[0] for line in found] == ["button-name"] * 2
    assert excused == [line for line in found if "bad" not in line]
    assert len(excused) == 1


async def test_page_fixtures_emulate_phone_dark_and_no_javascript(
    phone_page: Page, dark_page: Page, no_script_page: Page
) -> None:
    for each in (phone_page, dark_page, no_script_page):
        await each.goto("/health")

    assert await phone_page.evaluate("screen.width") == 360
    assert await dark_page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    await no_script_page.set_content("<body><noscript><p>without</p></noscript>")
    await expect(no_script_page.locator("noscript p")).to_be_visible()


async def test_screenshot_returns_png(page: Page, screenshot: Screenshot) -> None:
    await page.goto("/health")

    assert (await screenshot(page, "health")).startswith(b"\x89PNG")
