"""An interrupted import continues, and ends like an uninterrupted one."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest
from tests.support.csv_files import as_csv, row
from tests.support.database_faults import failing, gate
from tests.support.imports import eventful_rows, find, get_rejects, submit
from tests.support.stored_rows import content, execute, fetch_rows

from app.db.session import Database
from app.services.import_runner import ImportRunner
from app.storage.uploads import UploadStore

pytestmark = pytest.mark.integration

ROWS = 150
CHUNKS = ROWS // 10
OPTIONS: Sequence[dict[str, bool]] = ({}, {"strict": True}, {"dry_run": True})


def slow(value: Any) -> Any:
    """Return a parameter of the slow tier."""
    return pytest.param(value, marks=pytest.mark.slow)


# The three variants share most of their code here.
SOME_OPTIONS = (OPTIONS[0], *map(slow, OPTIONS[1:]))
EMPTY = "TRUNCATE deals, deal_categories, hotels, categories, imports CASCADE"

_VERSIONS = "SELECT external_id, version_id, updated_at, xmin::text FROM deals ORDER BY 1"


def import_file(options: Mapping[str, bool]) -> bytes:
    """Return rows of every kind. A strict import gets no rejected rows, so that it succeeds."""
    if options.get("strict"):
        numbers = [number // 2 if number % 7 == 3 else number for number in range(1, ROWS + 1)]
        hotels = [{"hotel_name": f"Hotel {n // 13}", "hotel_phone": f"+{n // 13}"} for n in numbers]
        return as_csv(row(n, **hotel) for n, hotel in zip(numbers, hotels, strict=True)).encode()
    # Every other chunk has a record with too many fields, and one with a line end in a field.
    head, *lines = as_csv(eventful_rows(ROWS)).splitlines()
    for n in range(15, len(lines), 20):
        lines[n] += ",more"
        lines[n + 3] = lines[n + 3].replace("Germany", '"Ger\r\nmany"', 1)
    return "\n".join([head, *lines, ""]).encode()


def comparable_fields(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that an interruption must not change."""
    differs = {"id", "links", "created_at", "started_at", "finished_at", "rows_per_second"}
    return {name: value for name, value in said.items() if name not in differs}


async def run_uninterrupted(
    api: httpx.AsyncClient,
    runner: ImportRunner,
    database: Database,
    options: dict[str, bool],
    remove: str = EMPTY,
) -> tuple[dict[str, Any], bytes, list[tuple[Any, ...]]]:
    """Run an import undisturbed, remove its rows, and return its end, its rejects and the rows."""
    made = await submit(api, import_file(options), **options)
    await runner.run(made["id"])
    done = await find(api, made["id"])
    assert done["state"] == "succeeded"
    assert done["duplicates"] > 5
    assert bool(done["rejected"]) == ("strict" not in options)
    expected = comparable_fields(done), await get_rejects(api, made["id"]), await content(database)
    await execute(database, remove)
    return expected


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cut", [2, *(slow(cut) for cut in (0, 1, 5, CHUNKS - 1))])
async def test_resume_after_failed_chunk_matches_uninterrupted_import(
    api: httpx.AsyncClient,
    runner: ImportRunner,
    database: Database,
    options: dict[str, bool],
    cut: int,
) -> None:
    expected = await run_uninterrupted(api, runner, database, options)
    made = await submit(api, import_file(options), **options)
    cut = min(cut, expected[0]["rows_read"] // 10 - 1)
    async with failing(database, "import_chunks", f"NEW.number >= {cut}"):
        await runner.run(made["id"])
    halfway = await find(api, made["id"])
    assert halfway["state"] == "queued"
    assert halfway["rows_read"] == cut * 10
    before = {found[0]: found for found in await fetch_rows(database, _VERSIONS)}
    assert bool(before) == (options == {} and cut > 0)
    assert len(before) == (halfway["inserted"] if options == {} else 0)

    await runner.run(made["id"])

    assert comparable_fields(await find(api, made["id"])) == expected[0]
    assert await get_rejects(api, made["id"]) == expected[1]
    assert await content(database) == expected[2]
    after = {found[0]: found for found in await fetch_rows(database, _VERSIONS)}
    assert {number: after[number] for number in before} == before


@pytest.mark.slow
async def test_resume_after_each_chunk_failed_matches_uninterrupted_import(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    expected = await run_uninterrupted(api, runner, database, {})
    made = await submit(api, import_file({}))
    for cut in range(1, 9):
        async with failing(database, "import_chunks", f"NEW.number >= {cut}"):
            await runner.run(made["id"])
    await runner.run(made["id"])

    assert comparable_fields(await find(api, made["id"])) == expected[0]
    assert await get_rejects(api, made["id"]) == expected[1]
    assert await content(database) == expected[2]


@pytest.mark.slow
async def test_resume_with_missing_middle_chunk_matches_uninterrupted_import(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    """Two chunks are stored at a time, and the second one may be stored first."""
    # The hotels exist, so no chunk waits for another one.
    await run_uninterrupted(api, runner, database, {}, remove="TRUNCATE deals, imports CASCADE")
    expected = await run_uninterrupted(
        api, runner, database, {}, remove="TRUNCATE deals, imports CASCADE"
    )
    for missing in range(1, CHUNKS - 1, 2):
        made = await submit(api, import_file({}))
        async with failing(database, "import_chunks", f"NEW.number = {missing}"):
            await runner.run(made["id"])
        await runner.run(made["id"])

        assert comparable_fields(await find(api, made["id"])) == expected[0]
        assert await get_rejects(api, made["id"]) == expected[1]
        assert await content(database) == expected[2]
        await execute(database, "TRUNCATE deals, imports CASCADE")


@pytest.mark.parametrize("options", SOME_OPTIONS, ids=str)
async def test_resume_after_last_chunk_stores_no_row_again(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database, options: dict[str, bool]
) -> None:
    """All chunks are stored, but the end is not recorded."""
    expected = await run_uninterrupted(api, runner, database, options)
    made = await submit(api, import_file(options), **options)
    async with failing(database, "imports", "NEW.state = 'succeeded'", on="UPDATE"):
        await runner.run(made["id"])
    before = await fetch_rows(database, _VERSIONS)

    await runner.run(made["id"])

    assert comparable_fields(await find(api, made["id"])) == expected[0]
    assert await get_rejects(api, made["id"]) == expected[1]
    assert await content(database) == expected[2]
    if options == {}:
        assert await fetch_rows(database, _VERSIONS) == before


@pytest.mark.parametrize("options", SOME_OPTIONS, ids=str)
@pytest.mark.parametrize("cut", [3, slow(0)])
async def test_resume_after_stopped_worker_matches_uninterrupted_import(
    api: httpx.AsyncClient,
    runner: ImportRunner,
    database: Database,
    options: dict[str, bool],
    cut: int,
) -> None:
    expected = await run_uninterrupted(api, runner, database, options)
    made = await submit(api, import_file(options), **options)
    async with gate(database, "import_chunks", f"NEW.number = {cut}") as halt:
        running = asyncio.create_task(runner.run(made["id"]))
        await halt.wait_until_blocked()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        halfway = await find(api, made["id"])
        assert (halfway["state"], halfway["error"]) == ("queued", "The worker was stopped")

    await runner.run(made["id"])

    assert comparable_fields(await find(api, made["id"])) == expected[0]
    assert await get_rejects(api, made["id"]) == expected[1]
    assert await content(database) == expected[2]


async def test_import_worker_stopped_counts_no_failure(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database
) -> None:
    """Deployments during a long import do not count as failures."""
    made = await submit(api, import_file({}))
    for _ in range(2):
        async with gate(database, "import_chunks", "true") as halt:
            running = asyncio.create_task(runner.run(made["id"]))
            await halt.wait_until_blocked()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    assert await fetch_rows(database, "SELECT failures, attempt FROM imports") == [(0, 2)]


async def test_resume_with_other_chunk_size_matches_uninterrupted_import(
    api: httpx.AsyncClient, runner: ImportRunner, database: Database, uploads: UploadStore
) -> None:
    """A worker with another default cuts the file as the first attempt did."""
    expected = await run_uninterrupted(api, runner, database, {})
    made = await submit(api, import_file({}))
    async with failing(database, "import_chunks", "NEW.number >= 2"):
        await runner.run(made["id"])
    await ImportRunner(database, uploads, chunk_rows=7).run(made["id"])

    done = await find(api, made["id"])
    found = comparable_fields(done), await get_rejects(api, made["id"]), await content(database)
    assert found == expected
