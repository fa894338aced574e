"""Uploads from a browser."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.browser.conftest import Axe, Visit
from tests.support.api_keys import create_api_key
from tests.support.csv_files import row, write
from tests.support.servers import RunningServer, running_server

from app.db.session import Database

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<script>alert(1)</script>\"'"


@pytest.fixture
async def server_with_worker(
    browser: object, database_url: str, tmp_path: Path
) -> AsyncIterator[RunningServer]:
    """Serve in development, with a worker."""
    async with running_server(database_url, tmp_path, "--with-worker") as server:
        yield server


@pytest.fixture
def deals_file(tmp_path: Path) -> Path:
    """Write valid rows of hotels with hostile names, and one invalid row."""
    rows = [
        row(
            number,
            hotel_name=f"{HOSTILE} {number}",
            hotel_city=HOSTILE,
            hotel_phone=f"+1-{number}",
            price_per_night="-1" if number == 7 else "10",
        )
        for number in range(1, 30)
    ]
    return write(tmp_path / "deals.csv", rows)


async def upload_file(page: Page, file: Path) -> None:
    await page.get_by_label("A deals.csv").set_input_files(file)
    await page.get_by_role("button", name="Import", exact=True).click()


async def test_upload_valid_file_shows_progress_and_rejects(
    server_with_worker: RunningServer, visit: Visit, deals_file: Path, axe: Axe
) -> None:
    page = await visit(server_with_worker.url)
    await page.goto("/dashboard/imports")
    assert await axe(page) == []
    await upload_file(page, deals_file)
    await expect(page.get_by_text("deals.csv is sent.")).to_be_visible()
    sent = page.locator("#import-1")
    # The event stream updates the page without a reload.
    await expect(sent).to_have_attribute("data-state", "succeeded")
    await expect(sent.locator("[data-field=inserted]")).to_have_text("28")
    assert await axe(page) == []
    await upload_file(page, deals_file)
    await expect(page.get_by_text("deals.csv was imported before")).to_be_visible()

    await sent.get_by_role("link", name="deals.csv").click()
    await expect(page.get_by_role("heading", name="Rejected rows")).to_be_visible()
    rejected = page.locator(".scroll tbody tr")
    await expect(rejected).to_have_count(1)
    await expect(rejected).to_contain_text(f"{HOSTILE} 7")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download all 1").click()
    assert (await (await download.value).path()).read_text().count("\n") == 2
    assert await axe(page) == []

    # The hostile name is text in the table and in the chart.
    await page.get_by_role("link", name="Browse").click()
    await expect(page.locator("table.cards tbody tr").first).to_contain_text(f"{HOSTILE} 1")
    await page.get_by_role("link", name="Cities").click()
    await expect(page.locator("#chart canvas")).to_be_visible()
    labels = "Chart.getChart(document.querySelector('#chart canvas')).data.labels"
    assert await page.evaluate(labels) == [HOSTILE]


async def test_upload_file_without_known_columns_shows_error(
    server_with_worker: RunningServer, visit: Visit, tmp_path: Path
) -> None:
    page = await visit(server_with_worker.url)
    await page.goto("/dashboard/imports")
    file = tmp_path / "notes.csv"
    file.write_text("this,is,something,else\n1,2,3,4\n")
    await upload_file(page, file)

    await expect(page.locator("#import-1")).to_have_attribute("data-state", "failed")
    await expect(page.locator("#import-1 [data-field=error]")).not_to_be_empty()


async def test_upload_in_production_asks_for_key_and_can_be_cancelled(
    production_server: RunningServer, visit: Visit, database: Database, deals_file: Path
) -> None:
    """Without a worker the upload stays queued until it is cancelled."""
    key = await create_api_key(database, "browser", "imports:write")
    page = await visit(production_server.url)
    await page.goto("/dashboard/imports")
    await page.get_by_label("API key").fill("hd_no_key")
    await page.get_by_role("button", name="Use this key").click()
    await expect(page.get_by_text("A valid API key is needed")).to_be_visible()
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Use this key").click()
    await upload_file(page, deals_file)
    await expect(page.locator("#import-1")).to_have_attribute("data-state", "queued")

    # The tab keeps the key after a reload.
    await page.reload()
    await page.get_by_role("link", name="deals.csv").click()
    await expect(page).to_have_url(re.compile("/dashboard/imports/1$"))
    await page.get_by_role("button", name="Cancel this import").click()
    await expect(page.locator("#import-1")).to_have_attribute("data-state", "cancelled")
    other = await visit(production_server.url)
    await other.goto("/dashboard/imports/1")
    await expect(other.get_by_label("API key")).to_be_visible()


async def test_upload_dropped_file_is_selected(page: Page) -> None:
    await page.goto("/dashboard/imports")
    await page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["a,b"], "dropped.csv"));
            const options = {dataTransfer, bubbles: true, cancelable: true};
            document.getElementById("upload").dispatchEvent(new DragEvent("drop", options));
        }"""
    )

    assert await page.evaluate("document.getElementById('file').files[0].name") == "dropped.csv"
