"""The pages of imports."""

import subprocess
import sys

import httpx
import pytest
from tests.support.api_keys import create_api_key
from tests.support.csv_files import row
from tests.support.imports import submit
from tests.web.pages import linked_urls, main_text, statement_count

from app.db.session import Database
from app.ingestion.read.csv_records import MAX_FIELD_BYTES
from app.services.import_runner import ImportRunner

pytestmark = pytest.mark.api

HOSTILE = "<script>alert(1)</script>\"'"


class TestImportListPage:
    async def test_empty_database_shows_message(self, api: httpx.AsyncClient) -> None:
        page = await api.get("/dashboard/imports")

        assert page.status_code == 200
        assert "There are none." in main_text(page)
        assert statement_count(page) == 1

    async def test_unfinished_imports_are_followed_by_events(
        self, api: httpx.AsyncClient, runner: ImportRunner
    ) -> None:
        for number in range(1, 6):
            await submit(api, [row(number)])
        await runner.run(1)
        page = await api.get("/dashboard/imports")

        assert page.text.count('data-state="queued"') == 4
        assert page.text.count('data-state="succeeded"') == 1
        # Only the first unfinished imports have a stream, because browsers limit connections.
        watched = [
            f'hx-sse:connect="/imports/{number}/events"' in page.text for number in range(1, 6)
        ]
        assert watched == [False, True, True, True, False]
        assert "/dashboard/imports/5" in linked_urls(page)
        only = await api.get("/dashboard/imports?state=succeeded")
        assert only.text.count("data-import=") == 1

    async def test_next_link_shows_remaining_imports(self, api: httpx.AsyncClient) -> None:
        for number in range(1, 4):
            await submit(api, [row(number)])
        page = await api.get("/dashboard/imports?limit=2")
        [following] = [each for each in linked_urls(page) if "cursor=" in each]

        assert "/dashboard/imports/1" in linked_urls(await api.get(following))

    async def test_invalid_query_returns_422_with_messages(self, api: httpx.AsyncClient) -> None:
        page = await api.get("/dashboard/imports?state=lost&x=1&cursor=1")

        assert page.status_code == 422
        said = main_text(page)
        assert "Input should be 'queued'" in said
        assert "query.x : There is no such field" in said


class TestImportPage:
    async def test_rejects_are_shown_escaped_and_limited(
        self, api: httpx.AsyncClient, runner: ImportRunner
    ) -> None:
        bad = [row(number, hotel_name=HOSTILE, price_per_night="-1") for number in range(60)]
        long = row(99, hotel_name="x" * 500, price_per_night="-1")
        made = await submit(api, [row(100), long, *bad])
        await runner.run(made["id"])
        page = await api.get(f"/dashboard/imports/{made['id']}")

        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert page.text.count("&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;") == 49
        assert f"{'x' * 200}…" in page.text
        said = main_text(page)
        assert "Download all 61 of them" in said
        assert "These are the first 50." in said
        assert f"/imports/{made['id']}/rejects" in linked_urls(page)

    async def test_long_rejected_field_is_truncated(
        self, api: httpx.AsyncClient, runner: ImportRunner
    ) -> None:
        made = await submit(api, [row(1, hotel_name="x" * 200_000)])
        await runner.run(made["id"])
        page = await api.get(f"/dashboard/imports/{made['id']}")

        assert page.status_code == 200
        assert f"{'x' * 200}…" in page.text

    async def test_import_with_rejects_uses_four_statements(
        self, api: httpx.AsyncClient, runner: ImportRunner
    ) -> None:
        made = await submit(api, [row(1), row(2, price_per_night="-1")])
        await runner.run(made["id"])

        # One statement for the import, and three for its rejects and their end.
        assert statement_count(await api.get(f"/dashboard/imports/{made['id']}")) == 4

    async def test_queued_import_has_cancel_button(self, api: httpx.AsyncClient) -> None:
        made = await submit(api, [row(1)])
        page = await api.get(f"/dashboard/imports/{made['id']}")

        assert f'data-cancel="/imports/{made["id"]}"' in page.text
        assert "hx-sse:connect" in page.text

    @pytest.mark.parametrize("number", ["7", str(2**63), "0", "9" * 400, "9" * 5000, "x", "\u0663"])
    async def test_unknown_or_invalid_id_returns_404(
        self, api: httpx.AsyncClient, number: str
    ) -> None:
        page = await api.get(f"/dashboard/imports/{number}")

        assert page.status_code == 404
        assert "does not exist" in main_text(page)


@pytest.mark.slow
def test_api_process_without_worker_sets_csv_field_limit() -> None:
    """The worker's modules set the same limit, so the test imports only those of the API."""
    code = "import csv, app.main; print(csv.field_size_limit())"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert int(said.stdout) == MAX_FIELD_BYTES


@pytest.mark.parametrize("path", ["", "/1"])
async def test_import_pages_in_production_need_key_with_scope(
    production_client: httpx.AsyncClient, database: Database, path: str
) -> None:
    async def page(**headers: str) -> str:
        answer = await production_client.get(f"/dashboard/imports{path}", headers=headers)
        linked_urls(answer)
        return answer.text

    assert 'id="key-form"' in await page()
    assert "A valid API key is needed" not in await page()
    assert "A valid API key is needed" in await page(Authorization="Bearer hd_x_y")
    other = await create_api_key(database, "other", "deals:write")
    assert "The key lacks the scope imports:write" in await page(**{"X-API-Key": other})
    right = await create_api_key(database, "right", "imports:write")
    assert 'id="key-form"' not in await page(Authorization=f"Bearer {right}")
