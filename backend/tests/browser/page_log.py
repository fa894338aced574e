"""Pages that cannot reach any other host, and a log of their requests and errors."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Route, WebError
from tests.support.timeouts import TIMEOUT

# The limit of Playwright's waits.
MILLISECONDS = TIMEOUT * 1000


@dataclass
class PageLog:
    """The requests and errors of pages."""

    origins: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def expect_error(self, pattern: str) -> None:
        """Allow errors that contain `pattern`, for tests that cause them."""
        self._expected.append(re.compile(pattern))

    def foreign_requests(self) -> list[str]:
        """Return requested addresses outside the server. `data:` and `blob:` count as inside."""
        own = (*(f"{origin}/" for origin in self.origins), "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def unexpected_errors(self) -> list[str]:
        return [
            error
            for error in self.errors
            if not any(pattern.search(error) for pattern in self._expected)
        ]

    def record_console_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location['url']})")

    def record_script_error(self, error: WebError) -> None:
        self.errors.append(str(error.error))


async def _abort(route: Route) -> None:
    await route.abort("blockedbyclient")


@asynccontextmanager
async def open_page(
    browser: Browser, origin: str, page_log: PageLog, **options: Any
) -> AsyncIterator[Page]:
    """Open a page with relative addresses under `origin`, and close it at the end."""
    page_log.origins.add(origin)
    context = await browser.new_context(
        base_url=origin, service_workers="block", reduced_motion="reduce", **options
    )
    context.set_default_timeout(MILLISECONDS)
    try:
        await context.route(re.compile(rf"^(?!{re.escape(origin)}/|data:|blob:)"), _abort)
        context.on("request", lambda request: page_log.requests.append(request.url))
        context.on("console", page_log.record_console_message)
        context.on("weberror", page_log.record_script_error)
        page = await context.new_page()
        page.on("websocket", lambda socket: page_log.requests.append(socket.url))
        yield page
        # Wait for a turn of the event loop, so that a rejected promise of a script is reported.
        if options.get("java_script_enabled", True):
            await page.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    finally:
        # Closing the context delivers all remaining messages of the page.
        await context.close()
