# ruff: noqa: ASYNC240 - a test can wait for its own small files

import csv
from pathlib import Path

import pytest
from tests.support.csv_files import as_csv, counts, read_rejects, row, write
from tests.support.stored_rows import ids

from app.core.errors import DealsError
from app.db.session import Database
from app.ingestion.columns import NAMES
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration


INVALID_VALUES = [
    ("id", "", "required"),
    ("id", "x", "not_an_integer"),
    ("id", "9223372036854775808", "out_of_range"),
    ("id", "0", "out_of_range"),
    ("hotel_name", " ", "required"),
    ("hotel_name", "x" * 201, "too_long"),
    ("hotel_city", "", "required"),
    ("hotel_city", "a\0b", "invalid_character"),
    ("hotel_country", "x" * 201, "too_long"),
    ("hotel_phone", "", "required"),
    ("hotel_phone", "1" * 41, "too_long"),
    ("hotel_star_rating", "6", "out_of_range"),
    ("hotel_star_rating", "4.5", "not_an_integer"),
    ("room_type", "x" * 51, "too_long"),
    ("price_per_night", "0", "out_of_range"),
    ("price_per_night", "100000000.00", "out_of_range"),
    ("price_per_night", "12.345", "too_many_decimals"),
    ("original_price", "free", "not_a_decimal"),
    ("original_price", "-1.00", "out_of_range"),
    ("discount_percent", "101", "out_of_range"),
    ("discount_percent", "-1", "out_of_range"),
    ("checkin_date", "2027-02-30", "not_a_date"),
    ("checkout_date", "03/05/2027", "not_a_date"),
    ("checkout_date", "2027-03-01", "checkout_not_after_checkin"),
    ("is_available", "maybe", "not_a_boolean"),
    ("categories", ",".join(f"c{i}" for i in range(21)), "too_many_categories"),
    ("categories", "x" * 51, "category_too_long"),
    # NFC turns this one character into two, so 26 of them are 52.
    ("categories", "\u0958" * 26, "category_too_long"),
    ("created_at", "yesterday", "not_a_timestamp"),
    ("created_at", "", "required"),
]


@pytest.mark.parametrize("chunk_rows", [2, 10_000])
async def test_load_invalid_rows_rejects_them_and_loads_the_rest(
    loading: LoadingService, database: Database, deals: Path, rejects: Path, chunk_rows: int
) -> None:
    rows = []
    for number, (column, value, _) in enumerate(INVALID_VALUES):
        rows += [row(number + 1, room_type="two\nlines"), row(1000 + number, **{column: value})]
    write(deals, rows)
    summary = await loading.load(deals, rejects=rejects, chunk_rows=chunk_rows)
    assert counts(summary) == {"inserted": len(INVALID_VALUES), "rejected": len(INVALID_VALUES)}
    assert summary.rejects_file == rejects
    # The header and each invalid row take one line, and each valid row takes two.
    assert read_rejects(rejects) == [
        (4 + 3 * number, column, code) for number, (column, _, code) in enumerate(INVALID_VALUES)
    ]
    with rejects.open(encoding="utf-8", newline="") as file:
        came = list(csv.DictReader(file))
    for fields, original in zip(came, rows[1::2], strict=True):
        assert {name: fields[name] for name in NAMES} == original
        assert fields["message"]
    assert await ids(database) == list(range(1, len(INVALID_VALUES) + 1))


async def test_load_row_with_several_errors_reports_first_column(
    loading: LoadingService, deals: Path, rejects: Path
) -> None:
    bad = row(1, created_at="x", discount_percent="x", hotel_city="")
    deals.write_text(as_csv([bad], reversed(NAMES)))
    await loading.load(deals, rejects=rejects)
    assert read_rejects(rejects) == [(2, "hotel_city", "required")]


async def test_load_wrong_field_count_rejects_record(
    loading: LoadingService, database: Database, deals: Path, rejects: Path
) -> None:
    text = as_csv([row(1), row(2), row(3)])
    lines = text.splitlines()
    short, long = lines[1].rpartition(",")[0], lines[2] + ",more,than"
    deals.write_text("\n".join([lines[0], short, long, "", lines[3]]))
    assert counts(await loading.load(deals, rejects=rejects)) == {"inserted": 1, "rejected": 2}
    assert read_rejects(rejects) == [(2, "", "wrong_field_count"), (3, "", "wrong_field_count")]
    with rejects.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["created_at"], first["categories"]) == ("", "beach,luxury")
    assert second["created_at"] == "2026-08-28 00:10:25,more,than"
    assert await ids(database) == [3]


async def test_load_corrected_rejects_file_inserts_corrected_rows(
    loading: LoadingService, database: Database, deals: Path, rejects: Path
) -> None:
    write(deals, [row(1), row(2, hotel_star_rating="6"), row(3, discount_percent="x")])
    await loading.load(deals, rejects=rejects)
    rejects.write_text(rejects.read_text().replace(",6,", ",5,"))
    again = rejects.with_name("again.csv")
    summary = await loading.load(rejects, rejects=again)
    assert counts(summary) == {"inserted": 1, "rejected": 1}
    assert summary.ignored_columns == ("line", "column", "code", "message")
    assert read_rejects(again) == [(3, "discount_percent", "not_an_integer")]
    assert again.read_text().splitlines()[0] == rejects.read_text().splitlines()[0]
    assert await ids(database) == [1, 2]


async def test_load_without_rejects_removes_rejects_file(
    loading: LoadingService, deals: Path, rejects: Path
) -> None:
    write(deals, [row(1, id="x")])
    await loading.load(deals, rejects=rejects)
    assert rejects.exists()
    summary = await loading.load(write(deals, [row(1)]), rejects=rejects)
    assert summary.rejects_file is None
    assert sorted(file.name for file in deals.parent.iterdir()) == ["deals.csv"]


async def test_load_unwritable_rejects_path_fails_before_loading(
    loading: LoadingService, database: Database, deals: Path, tmp_path: Path
) -> None:
    write(deals, [row(1), row(2, id="x")])
    with pytest.raises(DealsError, match="cannot write the rejected rows: No such file"):
        await loading.load(deals, rejects=tmp_path / "missing" / "rejects.csv")
    with pytest.raises(DealsError, match="would overwrite the file being loaded"):
        await loading.load(deals, rejects=tmp_path / "." / "deals.csv")
    assert await ids(database) == []
    assert len(deals.read_text().splitlines()) == 3
