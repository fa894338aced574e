# ruff: noqa: ASYNC240 - a test can wait for its own small files
"""Results of the import runner, as clients see them."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.csv_files import as_csv, row
from tests.support.imports import eventful_rows, find, get_rejects, import_counts, submit
from tests.support.stored_rows import content, fetch_rows, ids

from app.core.config import Settings
from app.db.session import Database
from app.ingestion.columns import NAMES
from app.services.import_runner import ImportRunner
from app.services.load_reports import LoadMode
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration


async def run_import(
    api: httpx.AsyncClient, runner: ImportRunner, body: Any, **options: bool
) -> dict[str, Any]:
    """Return the import at its end."""
    made = await submit(api, body, **options)
    await runner.run(made["id"])
    return await find(api, made["id"])


def messy_file(count: int) -> bytes:
    """Return a file with unknown columns and with texts that CSV must quote."""
    rows = [{**made, "note": 'a "quoted"\r\nnote, ü', "line": "7"} for made in eventful_rows(count)]
    text = as_csv(rows, ["note", *reversed(NAMES), "line"])
    return f"{text}too,few\n{'x,' * 20}\n".encode()


@pytest.fixture
def rejects_of_load(tmp_path: Path) -> Path:
    return tmp_path / "rejects.csv"


class TestRun:
    @pytest.mark.parametrize(
        ("options", "compressed"),
        [
            ({}, True),
            ({"dry_run": True}, False),
            pytest.param({}, False, marks=pytest.mark.slow),
            pytest.param({"dry_run": True}, True, marks=pytest.mark.slow),
        ],
    )
    async def test_counters_and_rejects_match_load(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        loading: LoadingService,
        deals: Path,
        rejects_of_load: Path,
        options: dict[str, bool],
        compressed: bool,
    ) -> None:
        body = messy_file(120)
        body = gzip.compress(body) if compressed else body
        done = await run_import(api, runner, body, **options)
        deals.write_bytes(body)
        mode: LoadMode = "dry-run" if options else "rows"
        expected = await loading.load(deals, mode=mode, rejects=rejects_of_load, chunk_rows=10)

        assert (done["state"], done["error"]) == ("succeeded", None)
        if options:
            assert done["inserted"] == expected.inserted
        else:
            assert done["inserted"] == expected.unchanged
        assert (done["rows_read"], done["duplicates"], done["rejected"]) == (
            expected.rows_read,
            expected.duplicates,
            expected.rejected,
        )
        assert done["rejected"] > 20
        assert done["duplicates"] > 3
        assert done["ignored_columns"] == ["note", "line"]
        assert done["bytes_read"] == done["bytes_total"] == len(body)
        assert done["rows_per_second"] > 0
        assert done["created_at"] <= done["started_at"] < done["finished_at"]
        assert await get_rejects(api, done["id"]) == rejects_of_load.read_bytes()

    @pytest.mark.parametrize("options", [{}, {"strict": True}, {"dry_run": True}])
    async def test_header_only_succeeds(
        self, api: httpx.AsyncClient, runner: ImportRunner, options: dict[str, bool]
    ) -> None:
        done = await run_import(api, runner, as_csv([]).encode(), **options)

        assert (done["state"], done["rows_read"], done["rows_per_second"]) == ("succeeded", 0, 0)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            pytest.param({"strict": True}, marks=pytest.mark.slow),
            pytest.param({"dry_run": True}, marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"\n\n", "there is no header: the file has nothing but blank lines"),
            (b"a,b\n1,2\n", "there is no header: line 1 names none of the columns"),
            (as_csv(row(i) for i in range(1, 3000)).encode() + b"\xff", "not UTF-8: byte 0xff"),
            (gzip.compress(as_csv([row(1)]).encode())[:-9], "the gzip data is damaged or cut off"),
            (b"\x1f\x8b" + b"x" * 100, "the gzip data is damaged or cut off"),
            (as_csv([row(1)]).encode() + b'"never closed', "the record that starts in line 3"),
        ],
    )
    async def test_invalid_file_fails_and_loads_nothing(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        database: Database,
        options: dict[str, bool],
        body: bytes,
        error: str,
    ) -> None:
        done = await run_import(api, runner, body, **options)

        assert done["state"] == "failed"
        assert done["error"].startswith(error)
        assert import_counts(done) == {}
        assert await ids(database) == []

    @pytest.mark.parametrize(
        "how", ["missing", "changed", "shorter"], ids=lambda how: f"an upload that is {how}"
    )
    async def test_missing_or_altered_upload_fails_and_loads_nothing(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        database: Database,
        own_settings: Settings,
        how: str,
    ) -> None:
        made = await submit(api, [row(1), row(2)])
        [stored] = (own_settings.data_dir / "uploads").iterdir()
        body = stored.read_bytes()
        if how == "missing":
            stored.unlink()
        else:
            stored.write_bytes(
                body.replace(b"suite", b"attic") if how == "changed" else body[:-300]
            )
        await runner.run(made["id"])

        done = await find(api, made["id"])
        assert done["state"] == "failed"
        assert done["error"] == (
            "The uploaded file is no longer stored"
            if how == "missing"
            else "The stored file differs from the uploaded one in size or SHA-256; upload it again"
        )
        assert await ids(database) == []


class TestRejects:
    async def test_download_is_csv_attachment(
        self, api: httpx.AsyncClient, runner: ImportRunner
    ) -> None:
        done = await run_import(api, runner, [row(1), row(2, id="x")])
        response = await api.get(done["links"]["rejects"])

        assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        name = f"import-{done['id']}-rejects.csv"
        assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
        header, only = response.text.splitlines()
        assert header == ",".join([*NAMES, "line", "column", "code", "message"])
        assert only.startswith("x,Grand Hotel,")
        assert (await api.get("/imports/999/rejects")).status_code == 404

    @pytest.mark.parametrize("options", [{}, {"strict": True}, {"dry_run": True}])
    async def test_no_rejects_returns_header_and_no_link(
        self, api: httpx.AsyncClient, runner: ImportRunner, options: dict[str, bool]
    ) -> None:
        rows = [row(number) for number in range(1, 26)]
        done = await run_import(api, runner, [*rows, row(3)], **options)

        assert import_counts(done) == {"inserted": 25, "duplicates": 1}
        assert done["links"]["rejects"] is None
        assert (await get_rejects(api, done["id"])).decode().splitlines() == [
            ",".join([*NAMES, "line", "column", "code", "message"])
        ]


class TestStrictImport:
    async def test_reject_fails_and_stores_nothing(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        rows = [row(number) for number in range(1, 26)]
        done = await run_import(api, runner, [*rows, row(26, id="x"), row(3)], strict=True)

        assert done["state"] == "failed"
        assert done["error"] == "1 row is rejected, so the strict import loaded nothing"
        assert import_counts(done) == {"duplicates": 1, "rejected": 1, "held_back": 25}
        assert (await get_rejects(api, done["id"])).count(b"\n") == 2
        assert await ids(database) == []
        # After a failure the corrected file can be uploaded.
        done = await run_import(api, runner, rows, strict=True)
        assert (done["state"], import_counts(done)) == ("succeeded", {"inserted": 25})
        assert await ids(database) == list(range(1, 26))
        changed = [
            row(number, room_type="attic" if number < 4 else "suite") for number in range(1, 27)
        ]
        done = await run_import(api, runner, changed, strict=True)
        assert import_counts(done) == {"inserted": 1, "updated": 3, "unchanged": 22}


class TestDryRun:
    async def test_reports_counters_of_import_and_stores_nothing(
        self, api: httpx.AsyncClient, runner: ImportRunner, database: Database
    ) -> None:
        await run_import(api, runner, [row(number) for number in range(1, 15)])
        before = await content(database)
        rows = [row(number, room_type="attic") for number in range(10, 20)]
        body = [*rows, row(1), row(30, id="x"), row(1)]
        dry_run = await run_import(api, runner, body, dry_run=True)

        assert await content(database) == before
        done = await run_import(api, runner, body)
        expected = {"inserted": 5, "updated": 5, "unchanged": 1, "duplicates": 1, "rejected": 1}
        assert import_counts(dry_run) == import_counts(done) == expected
        assert await get_rejects(api, dry_run["id"]) == await get_rejects(api, done["id"])

    @pytest.mark.parametrize(("last", "state"), [("20", "succeeded"), ("x", "failed")])
    async def test_strict_ends_like_strict_import(
        self,
        api: httpx.AsyncClient,
        runner: ImportRunner,
        database: Database,
        last: str,
        state: str,
    ) -> None:
        rows = [*(row(number) for number in range(1, 20)), row(20, id=last)]
        dry_run = await run_import(api, runner, rows, strict=True, dry_run=True)

        assert await ids(database) == []
        assert await fetch_rows(database, "SELECT 1 FROM hotels") == []
        done = await run_import(api, runner, rows, strict=True)
        assert dry_run["state"] == done["state"] == state
        assert dry_run["error"] == done["error"]
        assert dry_run["rejected"] == done["rejected"]
