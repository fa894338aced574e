import asyncio
from pathlib import Path

import pytest
from tests.support.csv_files import counts, read_rejects, row, write
from tests.support.stored_rows import execute, fetch_rows, ids

from app.core.errors import ServiceUnavailableError
from app.db.session import Database
from app.ingestion.generator import generate
from app.ingestion.merge import pipeline
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration


async def test_load_concurrent_loads_run_in_turn(database: Database, deals: Path) -> None:
    generate(deals, rows=3000)
    summaries = await asyncio.gather(
        *(LoadingService(database).load(deals, chunk_rows=200) for _ in range(3))
    )
    assert sorted(counts(summary).popitem()[0] for summary in summaries) == [
        "inserted",
        "unchanged",
        "unchanged",
    ]
    assert len(await ids(database)) == 3000


@pytest.mark.parametrize("name", ["hotel-deals", "hotel-deals load"])
@pytest.mark.parametrize("strict", [False, True])
async def test_load_lost_connection_keeps_whole_chunks(
    loading: LoadingService, database: Database, deals: Path, name: str, *, strict: bool
) -> None:
    generate(deals, rows=10_000)
    begun, failed = asyncio.Event(), asyncio.Event()
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name = '{name}'"
        " AND pid <> pg_backend_pid()"
    )

    async def terminate_connections() -> None:
        """Terminate connections repeatedly: between two chunks the pool simply reconnects."""
        await begun.wait()
        while not failed.is_set():
            await fetch_rows(database, kill)

    async with asyncio.TaskGroup() as group:
        group.create_task(terminate_connections())
        with pytest.raises(ServiceUnavailableError):
            await loading.load(
                deals,
                mode="strict" if strict else "rows",
                chunk_rows=100,
                progress=lambda progress: begun.set() if progress.rows_read > 300 else None,
            )
        failed.set()
    assert {pool.in_use for pool in database.pools().values()} == {0}
    stored = len(await ids(database))
    assert stored % 100 == 0
    assert (stored == 0) == strict
    assert counts(await loading.load(deals))["inserted"] == 10_000 - stored
    assert len(await ids(database)) == 10_000


async def test_load_hotel_inserted_concurrently_rejects_conflicts(
    loading: LoadingService,
    database: Database,
    deals: Path,
    rejects: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other writer commits after the load has looked and before it inserts."""
    prepare = pipeline.Load.prepare
    statements = [
        (
            "INSERT INTO hotels (name, city, country, phone)"
            " VALUES ('Grand Hotel', 'Berlin', 'Germany', '+49-30-555-3780')"
        ),
        "INSERT INTO hotels (name, city, country, phone) VALUES ('Theirs', 'Rome', 'Italy', '+1')",
        "UPDATE hotels SET phone = '+3' WHERE phone = '+49-30-555-3780'",
    ]

    async def prepare_after_other_writer(*arguments: object) -> object:
        if statements:
            await execute(database, statements.pop(0))
        return await prepare(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline.Load, "prepare", prepare_after_other_writer)
    ours = {"hotel_name": "Ours", "hotel_phone": "+1"}
    write(deals, [row(1), row(2, **ours), row(3, hotel_name="New", hotel_phone="+2")])
    assert counts(await loading.load(deals, rejects=rejects)) == {"inserted": 1, "rejected": 2}
    assert sorted(read_rejects(rejects)) == [
        (2, "hotel_phone", "hotel_phone_conflict"),
        (3, "hotel_phone", "phone_identity_conflict"),
    ]
    assert await ids(database) == [3]


async def test_load_concurrent_writers_on_same_rows_completes(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    generate(deals, rows=2000)
    await loading.load(deals)
    done = asyncio.Event()
    select, in_order = "SELECT FROM deals WHERE id", "ORDER BY external_id FOR UPDATE"
    flip = "UPDATE deals SET star_rating = 6 - star_rating WHERE id"
    remove = "DELETE FROM deals WHERE id"

    async def update_and_delete() -> None:
        while not done.is_set():
            await execute(database, f"{select} % 50 = 3 {in_order}", f"{flip} % 50 = 3")
            await execute(database, f"{select} % 500 = 7 {in_order}", f"{remove} % 500 = 7")

    writers = [asyncio.create_task(update_and_delete()) for _ in range(2)]
    for seed in range(3):
        generate(deals, rows=2000, seed=20261120)
        summary = await loading.load(deals, chunk_rows=300 + seed)
        assert summary.rejected == 0
    done.set()
    await asyncio.gather(*writers)
    assert counts(await loading.load(deals)).keys() <= {"inserted", "updated", "unchanged"}
    assert len(await ids(database)) == 2000
