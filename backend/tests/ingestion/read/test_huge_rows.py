"""An enormous row is rejected like any other invalid row, and the load goes on."""

from pathlib import Path

import pytest
from tests.support.csv_files import row, write

from app.db.session import Database
from app.services.loading import LoadingService

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("size", [150_000, 2_000_000])
@pytest.mark.parametrize("also", ["nothing", "a misshapen record", "a blank line"])
async def test_load_huge_field_rejects_only_its_row(
    database: Database, tmp_path: Path, size: int, also: str
) -> None:
    path = write(
        tmp_path / "deals.csv", [row(1), row(2, hotel_name="x" * size, hotel_phone="+2"), row(3)]
    )
    if also == "a misshapen record":
        path.write_text(path.read_text() + "too,few\n")
    elif also == "a blank line":
        path.write_text(path.read_text() + "\n")

    summary = await LoadingService(database).load(path)

    assert summary.inserted == 2
    assert summary.rejected == (2 if also == "a misshapen record" else 1)


@pytest.mark.parametrize("column", ["hotel_name", "room_type", "categories"])
async def test_load_text_too_long_after_nfc_rejects_row(
    database: Database, tmp_path: Path, column: str
) -> None:
    """NFC turns this one character into two, so fifty of them exceed a limit of fifty."""
    length = 200 if column == "hotel_name" else 50
    bad = row(2, **{column: "\u0958" * length, "hotel_phone": "+2"})

    summary = await LoadingService(database).load(write(tmp_path / "deals.csv", [row(1), bad]))

    assert (summary.inserted, summary.rejected) == (1, 1)
