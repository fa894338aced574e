"""Pictures of the pages with deals from `deals generate`. README shows two of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import URL
from tests.browser.conftest import PHONE, Screenshot, Visit
from tests.support.databases import as_text, pools
from tests.support.servers import RunningServer, running_server

from app.core.config import Settings
from app.ingestion.generator import generate
from app.services.loading import LoadingService

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 760}}
CONTEXT_OPTIONS = {"light": DESKTOP, "dark": {**DESKTOP, "color_scheme": "dark"}, "phone": PHONE}
PAGES = {
    "browse": "/?available_only=true&sort=-discount_percent&limit=10",
    "cities": "/dashboard/cities?chart=deal_count&sort=-deal_count",
    "imports": "/dashboard/imports",
}


@pytest.fixture
async def sample_server(
    browser: Browser, clone_url: URL, settings: Settings, tmp_path: Path
) -> AsyncIterator[RunningServer]:
    """Serve a few thousand generated deals."""
    file = tmp_path / "deals.csv"
    generate(file, rows=3000, seed=20261120)
    async with pools(clone_url, settings) as database:
        await LoadingService(database).load(file)
    async with running_server(as_text(clone_url), tmp_path) as server:
        yield server


async def test_screenshots_of_every_page_are_saved(
    sample_server: RunningServer, visit: Visit, screenshot: Screenshot
) -> None:
    for kind, options in CONTEXT_OPTIONS.items():
        page = await visit(sample_server.url, **options)
        for name, address in PAGES.items():
            await page.goto(address)
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            if name == "cities":
                await expect(page.locator("#chart figcaption")).not_to_be_empty()
            assert (await screenshot(page, f"{name}-{kind}")).startswith(b"\x89PNG")
