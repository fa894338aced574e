"""That the tests in a browser would notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Axe, Picture
from tests.browser.watching import Watch, opened
from tests.support.servers import RunningServer

pytestmark = pytest.mark.browser

STRICT = "default-src 'self'; img-src 'self' data:"
BEGINNING = "<!doctype html><html lang=en><title>A page</title><link rel=icon href=data:,><main>"


@asynccontextmanager
async def prepared(
    browser: Browser, live: RunningServer, body: str, policy: str = STRICT
) -> AsyncIterator[tuple[Page, Watch]]:
    """A page that is about to go to one of the server's that has `body`."""
    watch = Watch()
    async with opened(browser, live.url, watch) as page:
        await page.route(
            "**/page",
            lambda route: route.fulfill(
                body=BEGINNING + body,
                content_type="text/html",
                headers={"Content-Security-Policy": policy},
            ),
        )
        yield page, watch


async def test_a_good_page_is_left_alone(browser: Browser, live: RunningServer, axe: Axe) -> None:
    async with prepared(browser, live, "<h1>Hello</h1>") as (page, watch):
        await page.goto("/page")
        assert await axe(page) == []

    assert watch.requests == [f"{live.url}/page"]
    assert watch.elsewhere() == []
    assert watch.unexpected() == []


@pytest.fixture
async def other_host() -> AsyncIterator[tuple[str, list[bytes]]]:
    """The address of another server, and what it was asked."""
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Chromium may connect in advance; a connection alone says nothing.
        if line := await reader.readline():
            asked.append(line)
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1") as server:
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
async def test_a_request_to_another_host_shows_and_gets_nowhere(
    browser: Browser, live: RunningServer, body: str, other_host: tuple[str, list[bytes]]
) -> None:
    url, asked = other_host
    async with (
        prepared(browser, live, body.replace("URL", url), policy="") as (page, watch),
        page.expect_event("requestfailed", lambda request: request.url == url),
    ):
        await page.goto("/page")

    assert watch.elsewhere() == [url]
    assert asked == []


async def test_a_socket_to_another_host_shows(browser: Browser, live: RunningServer) -> None:
    body = "<script>new WebSocket('wss://example.com/x')</script>"
    async with prepared(browser, live, body, policy="") as (page, watch):
        await page.goto("/page")

    assert watch.elsewhere() == ["wss://example.com/x"]
    assert "ERR_NAME_NOT_RESOLVED" in watch.unexpected()[0]


async def test_the_browser_itself_finds_no_other_host(
    browser: Browser, live: RunningServer
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
async def test_what_the_policy_forbids_shows(
    browser: Browser, live: RunningServer, body: str, complaint: str
) -> None:
    async with prepared(browser, live, body) as (page, watch):
        await page.goto("/page")

    assert len(watch.unexpected()) == 1
    watch.expect(complaint)
    assert watch.unexpected() == []


async def test_an_error_in_a_script_shows(browser: Browser, live: RunningServer) -> None:
    body = "<script>throw Error('one')</script><script>Promise.reject(Error('two'))</script>"
    async with prepared(browser, live, body, policy="") as (page, watch):
        await page.goto("/page")

    assert [text.splitlines()[0] for text in watch.unexpected()] == ["one", "two"]


async def test_what_some_cannot_use_shows(browser: Browser, live: RunningServer, axe: Axe) -> None:
    body = "<h1>Hello</h1><button class=bad></button><button></button>"
    async with prepared(browser, live, body) as (page, _):
        await page.goto("/page")
        found = await axe(page)
        excused = await axe(page, except_for={"button-name": (".bad",)})

    assert [line.split(":")[0] for line in found] == ["button-name"] * 2
    assert excused == [line for line in found if "bad" not in line]
    assert len(excused) == 1


async def test_pages_come_in_several_kinds(
    phone_page: Page, dark_page: Page, plain_page: Page
) -> None:
    for each in (phone_page, dark_page, plain_page):
        await each.goto("/health")

    assert await phone_page.evaluate("screen.width") == 360
    assert await dark_page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    await plain_page.set_content("<body><noscript><p>without</p></noscript>")
    await expect(plain_page.locator("noscript p")).to_be_visible()


async def test_a_picture_is_kept(page: Page, screenshot: Picture) -> None:
    await page.goto("/health")

    assert (await screenshot(page, "health")).startswith(b"\x89PNG")
