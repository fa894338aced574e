from pathlib import Path

import pytest
from tests.support.csv_files import counts, read_rejects, row, write
from tests.support.stored_rows import content, execute, fetch_rows, ids

from app.db.session import Database
from app.ingestion.generator import generate
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration


async def test_load_categories_are_lower_cased_in_any_locale(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    twenty = [f"c{number:02d}" for number in range(20)]
    write(
        deals,
        [
            row(1, categories=" ZÜRICH , zürich,Strand,,"),
            row(2, categories=""),
            row(3, categories=",".join([*twenty, "C07"])),
            row(4, categories="x" * 50),
        ],
    )
    assert counts(await loading.load(deals)) == {"inserted": 4}
    assert [deal[-1] for deal in await content(database)] == [
        ["strand", "zürich"],
        [],
        twenty,
        ["x" * 50],
    ]
    assert counts(await loading.load(deals)) == {"unchanged": 4}


async def test_load_special_characters_survive_copy(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    odd = 'tab\t, "quote", \\b\\N, \\. {brace} ünï\r\nline'
    name = "\\.\n, {odd}\t"
    write(deals, [row(1, room_type=odd, hotel_name=name, categories='a\\b,{c},"d')])
    assert counts(await loading.load(deals)) == {"inserted": 1}
    (deal,) = await content(database)
    assert (deal[1], deal[6], deal[-1]) == (name.strip(), odd, ['"d', "a\\b", "{c}"])


async def test_load_same_file_again_changes_nothing(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    generate(deals, rows=500)
    assert counts(await loading.load(deals)) == {"inserted": 500}
    rows = "SELECT id, xmin::text, version_id, updated_at FROM deals ORDER BY id"
    before = await fetch_rows(database, rows)
    assert counts(await loading.load(deals, chunk_rows=70)) == {"unchanged": 500}
    assert await fetch_rows(database, rows) == before


@pytest.mark.parametrize(
    "change",
    [
        {"price_per_night": "80.01"},
        {"is_available": "False"},
        {"created_at": "2026-08-28 00:10:26"},
        {"categories": "beach"},
        {"categories": "beach,luxury,family"},
        {"categories": ""},
        {"hotel_name": "Other Hotel", "hotel_phone": "+49-30-555-0000"},
    ],
)
async def test_load_changed_row_updates_deal(
    loading: LoadingService, database: Database, deals: Path, change: dict[str, str]
) -> None:
    await loading.load(write(deals, [row(1), row(2)]))
    changed = [row(1), row(2, **change)]
    assert counts(await loading.load(write(deals, changed))) == {"unchanged": 1, "updated": 1}
    versions = "SELECT version_id, updated_at > (SELECT min(updated_at) FROM deals) FROM deals"
    assert await fetch_rows(database, f"{versions} ORDER BY external_id") == [(1, False), (2, True)]
    after = await content(database)
    assert counts(await loading.load(deals)) == {"unchanged": 2}
    assert await content(database) == after
    await execute(database, "TRUNCATE deals, deal_categories, hotels, categories CASCADE")
    await loading.load(deals)
    assert await content(database) == after


async def test_load_same_value_in_other_spelling_changes_nothing(
    loading: LoadingService, database: Database, deals: Path
) -> None:
    await loading.load(write(deals, [row(1)]))
    respelt = row(
        1,
        id="+01",
        price_per_night="80",
        original_price="100.0",
        is_available="yes",
        categories=" Luxury,BEACH,beach",
        created_at="2026-08-28T02:10:25+02:00",
    )
    assert counts(await loading.load(write(deals, [respelt]))) == {"unchanged": 1}
    # Within one file the two rows are identical.
    both = write(deals, [row(1), respelt])
    assert counts(await loading.load(both)) == {"unchanged": 1, "duplicates": 1}


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 100])
async def test_load_repeated_id_keeps_first_valid_row(
    loading: LoadingService, database: Database, deals: Path, rejects: Path, chunk_rows: int
) -> None:
    write(
        deals,
        [
            row(5),
            row(3),
            row(5),  # an identical row
            row(5, discount_percent="21"),
            row(4, discount_percent="x"),
            row(4),  # the first valid row with this id
            row(3, categories="beach"),
            row(1),
        ],
    )
    for first in ({"inserted": 4}, {"unchanged": 4}):
        summary = await loading.load(deals, rejects=rejects, chunk_rows=chunk_rows)
        assert counts(summary) == {**first, "duplicates": 1, "rejected": 3}
        assert read_rejects(rejects) == [
            (5, "id", "duplicate_id"),
            (6, "discount_percent", "not_an_integer"),
            (8, "id", "duplicate_id"),
        ]
    assert [(deal[0], deal[9]) for deal in await content(database)] == [
        (1, 20), (3, 20), (4, 20), (5, 20),
    ]  # fmt: skip


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
async def test_load_phone_conflict_in_file_rejects_row(
    loading: LoadingService, database: Database, deals: Path, rejects: Path, chunk_rows: int
) -> None:
    other = {"hotel_name": "Other", "hotel_phone": "+2"}
    write(
        deals,
        [
            row(1),
            row(2, hotel_city="Bonn"),
            row(3, hotel_phone="+1"),
            # A rejected row reserves no phone and no name for its hotel.
            row(1, **{**other, "hotel_city": "Bonn"}),
            row(4, **other),
            row(5, hotel_name="Other"),
        ],
    )
    for first in ({"inserted": 2}, {"unchanged": 2}):
        summary = await loading.load(deals, rejects=rejects, chunk_rows=chunk_rows)
        assert counts(summary) == {**first, "rejected": 4}
        assert read_rejects(rejects) == [
            (3, "hotel_phone", "phone_identity_conflict"),
            (4, "hotel_phone", "hotel_phone_conflict"),
            (5, "id", "duplicate_id"),
            (7, "hotel_phone", "phone_identity_conflict"),
        ]
    assert await fetch_rows(database, "SELECT phone FROM hotels ORDER BY phone") == [
        ("+2",),
        ("+49-30-555-3780",),
    ]


async def test_load_phone_conflict_with_stored_hotel_rejects_row(
    loading: LoadingService, database: Database, deals: Path, rejects: Path
) -> None:
    await execute(
        database,
        "INSERT INTO hotels (name, city, country, phone) VALUES"
        " ('Grand Hotel', 'Berlin', 'Germany', '+1'), ('Inn', 'Rome', 'Italy', '+2'),"
        " ('Kept', 'Oslo', 'Norway', '+3')",
    )
    kept = {"hotel_name": "Kept", "hotel_city": "Oslo", "hotel_country": "Norway"}
    write(deals, [row(1), row(2, hotel_phone="+2"), row(3, **kept, hotel_phone="+3")])
    assert counts(await loading.load(deals, rejects=rejects)) == {"inserted": 1, "rejected": 2}
    assert read_rejects(rejects) == [
        (2, "hotel_phone", "hotel_phone_conflict"),
        (3, "hotel_phone", "phone_identity_conflict"),
    ]
    assert await ids(database) == [3]
    assert len(await fetch_rows(database, "SELECT 1 FROM hotels")) == 3
