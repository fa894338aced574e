# ruff: noqa: ASYNC240 - a test can wait for its own small files

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from tests.support.csv_files import as_csv, counts, read_rejects, row, write
from tests.support.stored_rows import content, fetch_rows, ids

from app.core.errors import InvalidFileError
from app.db.session import Database
from app.ingestion.columns import NAMES
from app.ingestion.generator import generate
from app.ingestion.merge import staging
from app.services.load_reports import LoadMode, LoadProgress
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration


class TestLoad:
    async def test_valid_row_is_stored_as_deal(
        self, loading: LoadingService, database: Database, deals: Path
    ) -> None:
        write(deals, [row(7, hotel_name="  Grand Hotel ", price_per_night="80.5")])
        summary = await loading.load(deals)
        assert counts(summary) == {"inserted": 1}
        assert summary.rejects_file is None
        assert summary.seconds > 0
        assert await content(database) == [
            (
                *(7, "Grand Hotel", "Berlin", "Germany", "+49-30-555-3780", 4, "suite"),
                *(
                    Decimal("80.50"),
                    Decimal("100.00"),
                    20,
                    date(2027, 3, 1),
                    date(2027, 3, 5),
                    True,
                ),
                *(datetime(2026, 8, 28, 0, 10, 25, tzinfo=UTC), ["beach", "luxury"]),
            )
        ]

    @pytest.mark.parametrize(
        "encode",
        [
            lambda text: ("\ufeff" + text).encode(),
            lambda text: text.replace("\n", "\r\n").encode(),
            lambda text: gzip.compress(text.encode()),
            lambda text: text.rstrip("\n").encode(),
            lambda text: text.replace("\n", "\r").encode(),
        ],
        ids=["BOM", "CRLF", "gzip", "no last line end", "CR"],
    )
    async def test_supported_encoding_loads_rows(
        self,
        loading: LoadingService,
        database: Database,
        deals: Path,
        encode: Callable[[str], bytes],
    ) -> None:
        names = ["note", *sorted(NAMES)]
        deals.write_bytes(encode(as_csv([{**row(1), "note": "x"}, {**row(2), "note": ""}], names)))
        summary = await loading.load(deals)
        assert counts(summary) == {"inserted": 2}
        assert summary.ignored_columns == ("note",)
        assert await ids(database) == [1, 2]

    @pytest.mark.parametrize("mode", get_args(LoadMode))
    async def test_header_only_loads_nothing(
        self, loading: LoadingService, deals: Path, mode: LoadMode
    ) -> None:
        assert counts(await loading.load(write(deals, []), mode=mode)) == {}

    @pytest.mark.parametrize("tail", [b"\xff", b'"never closed'])
    async def test_invalid_end_of_file_loads_nothing(
        self, loading: LoadingService, database: Database, deals: Path, tail: bytes
    ) -> None:
        deals.write_bytes(as_csv(row(i) for i in range(1, 3000)).encode() + tail)
        with pytest.raises(InvalidFileError, match="line 3001"):
            await loading.load(deals, chunk_rows=10)
        assert await ids(database) == []


class TestStrictLoad:
    async def test_valid_file_inserts_and_updates(
        self,
        loading: LoadingService,
        database: Database,
        deals: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(staging, "_SLICE_ROWS", 3)
        await loading.load(write(deals, [row(number) for number in range(1, 9)]))
        rows = [
            row(number, categories="beach" if number % 2 else "") for number in range(10, 4, -1)
        ]
        summary = await loading.load(write(deals, [*rows, row(1)]), mode="strict", chunk_rows=2)
        assert counts(summary) == {"inserted": 2, "updated": 4, "unchanged": 1}
        assert [len(deal[-1]) for deal in await content(database)] == [2, 2, 2, 2, 1, 0, 1, 0, 1, 0]

    @pytest.mark.parametrize("chunk_rows", [1, 2, 100])
    async def test_reject_loads_nothing(
        self,
        loading: LoadingService,
        database: Database,
        deals: Path,
        rejects: Path,
        chunk_rows: int,
    ) -> None:
        rows = [row(1), row(2, hotel_name="New", hotel_phone="+1"), row(1), row(3)]
        write(deals, [*rows, row(4, hotel_phone="+1"), row(5)])
        summary = await loading.load(deals, mode="strict", rejects=rejects, chunk_rows=chunk_rows)
        assert counts(summary) == {"duplicates": 1, "rejected": 1, "held_back": 4}
        assert read_rejects(rejects) == [(6, "hotel_phone", "phone_identity_conflict")]
        assert await ids(database) == []
        assert (
            await fetch_rows(database, "SELECT 1 FROM hotels UNION ALL SELECT 1 FROM categories")
            == []
        )
        write(deals, rows)
        summary = await loading.load(deals, mode="strict", rejects=rejects, chunk_rows=chunk_rows)
        assert counts(summary) == {"inserted": 3, "duplicates": 1}
        assert not rejects.exists()
        assert await ids(database) == [1, 2, 3]


class TestDryRun:
    async def test_reports_counts_of_load_and_stores_nothing(
        self, loading: LoadingService, database: Database, deals: Path, rejects: Path
    ) -> None:
        await loading.load(write(deals, [row(1), row(2)]))
        before = await content(database)
        hotel = {"hotel_name": "New", "hotel_phone": "+2"}
        rows = [
            *(row(1), row(2, room_type="attic"), row(3, **hotel), row(3, **hotel)),
            row(4, hotel_name="Another", hotel_phone="+2"),
            row(5, room_type=""),
        ]
        dry_run = await loading.load(
            write(deals, rows), mode="dry-run", rejects=rejects, chunk_rows=2
        )
        assert await content(database) == before
        would_be_rejected = read_rejects(rejects)
        done = await loading.load(deals, rejects=rejects, chunk_rows=2)
        assert counts(dry_run) == counts(done)
        assert counts(dry_run) == {
            "inserted": 1,
            "updated": 1,
            "unchanged": 1,
            "duplicates": 1,
            "rejected": 2,
        }
        assert read_rejects(rejects) == would_be_rejected


class TestProgress:
    @pytest.mark.parametrize("mode", get_args(LoadMode))
    async def test_every_mode_increases_to_end_of_file(
        self, loading: LoadingService, deals: Path, mode: LoadMode
    ) -> None:
        deals = deals.with_suffix(".csv.gz")
        generate(deals, rows=2000)
        reported: list[LoadProgress] = []
        await loading.load(deals, mode=mode, progress=reported.append, chunk_rows=90)
        size = deals.stat().st_size
        assert {progress.bytes_total for progress in reported} == {size}
        assert reported == sorted(
            reported, key=lambda progress: (progress.bytes_read, progress.rows_read)
        )
        assert [progress.rows_read for progress in reported] == sorted(
            p.rows_read for p in reported
        )
        assert (reported[0].bytes_read, reported[0].rows_read) == (0, 0)
        assert (reported[-1].bytes_read, reported[-1].rows_read) == (size, 2000)
        assert len(reported) > 20

    async def test_failing_callback_stops_load_between_chunks(
        self, loading: LoadingService, database: Database, deals: Path, rejects: Path
    ) -> None:
        write(deals, [row(i) if i % 2 else row(i, id="x") for i in range(1, 41)])
        earlier = "line,column,code,message\n1,,from,an earlier load\n"
        rejects.write_text(earlier)

        def stop(progress: LoadProgress) -> None:
            if progress.rows_read >= 20:
                raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            await loading.load(deals, progress=stop, chunk_rows=4, rejects=rejects)
        assert len(await ids(database)) % 2 == 0
        # The rejects of the unfinished load do not replace the complete list.
        assert rejects.read_text() == earlier
        assert not list(rejects.parent.glob("*.part"))
        assert counts(await loading.load(deals))["rejected"] == 20
        assert await ids(database) == list(range(1, 40, 2))
