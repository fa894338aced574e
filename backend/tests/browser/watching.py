"""Pages that cannot reach any other host, and that say what they tried."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Route, WebError
from tests.support.timeouts import TIMEOUT

# How long Playwright waits.
MILLISECONDS = TIMEOUT * 1000


@dataclass
class Watch:
    """What pages asked for, and what they complained about."""

    origins: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Complaints that `pattern` is found in are what the test is about."""
        self._expected.append(re.compile(pattern))

    def elsewhere(self) -> list[str]:
        """Addresses outside the server; what a page has within itself is not outside."""
        own = (*(f"{origin}/" for origin in self.origins), "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def unexpected(self) -> list[str]:
        return [
            complaint
            for complaint in self.complaints
            if not any(pattern.search(complaint) for pattern in self._expected)
        ]

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def catch(self, error: WebError) -> None:
        self.complaints.append(str(error.error))


async def _abort(route: Route) -> None:
    await route.abort("blockedbyclient")


@asynccontextmanager
async def opened(
    browser: Browser, origin: str, watch: Watch, **options: Any
) -> AsyncIterator[Page]:
    """A page whose relative addresses are the server's at `origin`; closed at the end."""
    watch.origins.add(origin)
    context = await browser.new_context(
        base_url=origin, service_workers="block", reduced_motion="reduce", **options
    )
    context.set_default_timeout(MILLISECONDS)
    try:
        await context.route(re.compile(rf"^(?!{re.escape(origin)}/|data:|blob:)"), _abort)
        context.on("request", lambda request: watch.requests.append(request.url))
        context.on("console", watch.hear)
        context.on("weberror", watch.catch)
        page = await context.new_page()
        page.on("websocket", lambda socket: watch.requests.append(socket.url))
        yield page
        # What a script has left behind for after itself, as a rejected promise, is reported yet.
        if options.get("java_script_enabled", True):
            await page.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    finally:
        # Whatever the page has said until now is heard before this returns.
        await context.close()
