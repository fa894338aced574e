# ruff: noqa: ASYNC240 - a test can wait for its own small files

"""Export, load into an empty database, export again: both files are identical."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import URL
from tests.support.csv_files import as_csv, counts, row, write
from tests.support.databases import pools, temporary_database
from tests.support.stored_rows import content, execute, fetch_rows

from app.core.config import Settings
from app.db.session import Database
from app.ingestion.generator import generate
from app.repositories.deals.export import ExportRepository
from app.schemas.deals import DealCreate, DealFilters
from app.schemas.hotels import HotelCreate
from app.services.deals import DealWriteService
from app.services.exports import ExportService
from app.services.hotels import HotelService
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration

MAX_ID = 2**63 - 1

SPECIAL_TEXTS = [
    "comma, and; semicolon",
    'say "hi"',
    '"quoted"',
    "two\nlines",
    "CR\rLF\r\nboth",
    '",\n"",',
    "=1+1",
    "+49",
    "-1",
    "@SUM(A1)",
    "'",
    "\\.",
    "\\N",
    "NULL",
    "nan",
    "\\x00 back\\slash",
    "tab\there",
    "ünï 日本語 🏨 עברית",
    "e\u0301 composed",
    "line\u2028separator\x85next",
    "\x01\x02\x1f control \x7f",
    "{%s} $1 :name %(x)s",
    "\ufeffBOM",
    "x" * 200,
]


@pytest.fixture
async def target_database(
    server_url: URL, template: str, settings: Settings
) -> AsyncIterator[Database]:
    """Create another, empty database."""
    async with (
        temporary_database(server_url, template) as url,
        pools(url, settings) as database,
    ):
        yield database


async def export(database: Database, **filters: object) -> bytes:
    pieces: list[bytes] = []

    async def write(piece: bytes) -> None:
        pieces.append(piece)

    service = ExportService(ExportRepository(database.streams))
    await service.export("csv", DealFilters.model_validate(filters), write)
    return b"".join(pieces)


async def load_and_export(exported: bytes, target_database: Database, file: Path) -> bytes:
    file.write_bytes(exported)
    rejects = file.with_name("rejects.csv")
    summary = await LoadingService(target_database).load(file, rejects=rejects)
    assert not rejects.exists(), rejects.read_text()
    assert counts(summary) == {"inserted": summary.rows_read}
    return await export(target_database)


async def add_deals(database: Database, texts: list[str]) -> None:
    """Add deals by the service behind POST."""
    async with database.uow.begin() as session:
        for number, text in enumerate(texts):
            hotel = await HotelService(session).create(
                HotelCreate(name=text, city=text, country=text, phone=f"{number} {text}"[:40])
            )
            deal = {
                "hotel_id": hotel["id"],
                "room_type": text[:50],
                "star_rating": 1 + number % 5,
                "price_per_night": "0.01" if number else "99999999.99",
                "original_price": 100,
                "discount_percent": 100,
                "checkin_date": "0001-01-01",
                "checkout_date": "9999-12-31",
                "is_available": bool(number % 2),
                "categories": [text[:50], f"{text},"[:50], f'"{text}'[:50], "a", "b"],
            }
            await DealWriteService.on(session).create(DealCreate.model_validate(deal))


async def test_round_trip_generated_file_is_identical(
    loading: LoadingService, database: Database, target_database: Database, deals: Path
) -> None:
    generate(deals, rows=3_000)
    await loading.load(deals, chunk_rows=1_000)
    exported = await export(database)

    assert await load_and_export(exported, target_database, deals) == exported
    assert await content(target_database) == await content(database)


async def test_round_trip_special_texts_are_identical(
    loading: LoadingService, database: Database, target_database: Database, deals: Path
) -> None:
    rows = [
        row(
            n,
            hotel_name=text,
            hotel_city=text,
            hotel_phone=f"{n} {text}"[:40],
            room_type=text[:50],
        )
        for n, text in enumerate(SPECIAL_TEXTS, 1)
    ]
    assert counts(await loading.load(write(deals, rows))) == {"inserted": len(SPECIAL_TEXTS)}
    exported = await export(database)

    assert await load_and_export(exported, target_database, deals) == exported
    assert await content(target_database) == await content(database)


async def test_round_trip_deals_without_external_id_are_identical(
    loading: LoadingService, database: Database, target_database: Database, deals: Path
) -> None:
    await loading.load(write(deals, [row(5), row(MAX_ID), row(3, categories="")]))
    await add_deals(database, SPECIAL_TEXTS)
    # One transaction has one timestamp. Give some deals another one, with fewer digits.
    await execute(
        database, "UPDATE deals SET created_at = '2026-01-01 12:00:00.5' WHERE id % 2 = 0"
    )
    exported = await export(database)

    assert await load_and_export(exported, target_database, deals) == exported
    # All columns except the ids are unchanged.
    assert sorted(str(deal[1:]) for deal in await content(target_database)) == sorted(
        str(deal[1:]) for deal in await content(database)
    )


async def test_export_deal_without_external_id_gets_stable_unique_id(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    """The id is the same in every export with any filter, and no other deal has it."""
    await add_deals(database, ["a", "b", "c"])
    [(first,), (second,), (third,)] = await fetch_rows(database, "SELECT id FROM deals ORDER BY id")

    async def file_ids(**filters: object) -> list[int]:
        lines = (await export(database, **filters)).decode().splitlines()[1:]
        return [int(line.partition(",")[0]) for line in lines]

    assert await file_ids() == [MAX_ID + 1 - third, MAX_ID + 1 - second, MAX_ID + 1 - first]
    assert await file_ids(city="b") == [MAX_ID + 1 - second]

    # A file takes these ids, as if it came from a database like this one.
    await loading.load(write(deals, [row(MAX_ID - 1), row(MAX_ID - 4)]))
    shown = await file_ids()
    assert shown == sorted(set(shown))
    assert shown[:3] == [MAX_ID - 4 - third, MAX_ID - 4 - second, MAX_ID - 4 - first]
    assert shown[3:] == [MAX_ID - 4, MAX_ID - 1]


async def test_export_formula_like_text_is_unaltered(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    loaded = row(1, hotel_name='=A1,"x"\n+', categories="")
    await loading.load(write(deals, [loaded]))
    names = (await export(database)).decode().splitlines()[0].split(",")

    assert (await export(database)).decode() == as_csv([loaded], names)
