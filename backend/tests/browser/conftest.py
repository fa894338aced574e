"""A real Chromium and a real server, shared by all tests of a worker."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from tests.browser.accessibility import AXE_SOURCE, find_violations
from tests.browser.page_log import MILLISECONDS, PageLog, open_page
from tests.conftest import Catalog
from tests.support.databases import as_text
from tests.support.servers import RunningServer, running_server

Visit = Callable[..., Awaitable[Page]]
Axe = Callable[..., Awaitable[list[str]]]
Screenshot = Callable[[Page, str], Awaitable[bytes]]

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    # The browser resolves no host name, so a page cannot reach another host.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# The limit of an expectation that never comes true.
expect.set_options(timeout=MILLISECONDS)


def skip_or_fail(what: str) -> NoReturn:
    """Skip the test, or fail it if `REQUIRE_BROWSER` is set."""
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser, from `CHROMIUM` or the usual names."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        skip_or_fail("no Chromium: apt-get install chromium, or set CHROMIUM to the path of one")
    return found


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def live_server(
    browser: Browser, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    """Serve the known deals of `catalog` by `deals serve`, for tests that only read."""
    folder = tmp_path_factory.mktemp("live")
    async with running_server(as_text(catalog.url), folder) as server:
        yield server


@pytest.fixture
async def production_server(
    browser: Browser, database_url: str, tmp_path: Path
) -> AsyncIterator[RunningServer]:
    """Serve an empty database of the test in production, where writes need a key."""
    settings = {"APP_ENV": "production", "SIGNING_KEY": "k" * 32}
    async with running_server(database_url, tmp_path, **settings) as server:
        yield server


@pytest.fixture
def page_log() -> PageLog:
    """Record requests and errors of the test's pages, and check them at the end of the test."""
    return PageLog()


@pytest.fixture
async def visit(browser: Browser, page_log: PageLog) -> AsyncIterator[Visit]:
    """Return a function that opens a page: `await visit(server.url, **options)`.

    Each page has a context of its own with Playwright's options. The test fails if a page requests
    another host or has an error on its console, such as a violation of its Content-Security-Policy.
    """
    async with AsyncExitStack() as stack:

        async def visit(origin: str, **options: Any) -> Page:
            return await stack.enter_async_context(open_page(browser, origin, page_log, **options))

        yield visit
    assert page_log.foreign_requests() == []
    assert page_log.unexpected_errors() == []


@pytest.fixture
async def page(live_server: RunningServer, visit: Visit) -> Page:
    return await visit(live_server.url)


@pytest.fixture
async def phone_page(live_server: RunningServer, visit: Visit) -> Page:
    return await visit(live_server.url, **PHONE)


@pytest.fixture
async def dark_page(live_server: RunningServer, visit: Visit) -> Page:
    return await visit(live_server.url, color_scheme="dark")


@pytest.fixture
async def no_script_page(live_server: RunningServer, visit: Visit) -> Page:
    """Open a page without JavaScript."""
    return await visit(live_server.url, java_script_enabled=False)


@pytest.fixture
def screenshot(tmp_path: Path) -> Screenshot:
    """Return a function that stores a PNG of a whole page: `await screenshot(page, "docs")`.

    The PNG goes to the folder in `SCREENSHOTS`. Without that variable nothing is stored.
    """
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)

    async def screenshot(page: Page, name: str) -> bytes:
        return await page.screenshot(path=folder / f"{name}.png", full_page=True)

    return screenshot


@pytest.fixture
def axe() -> Axe:
    """Return a function that finds serious and critical accessibility violations of a page.

    `await axe(page, except_for={"rule": ("selector",)})` ignores elements by rule.
    """
    if not AXE_SOURCE.exists():
        skip_or_fail("no axe-core: run npm ci in backend/npm")
    return find_violations
