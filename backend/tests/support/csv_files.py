"""Small deals.csv files, valid except for the fields that a test sets."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from app.ingestion.columns import NAMES
from app.services.load_reports import LoadSummary

VALID_ROW = {
    "id": "1",
    "hotel_name": "Grand Hotel",
    "hotel_city": "Berlin",
    "hotel_country": "Germany",
    "hotel_phone": "+49-30-555-3780",
    "hotel_star_rating": "4",
    "room_type": "suite",
    "price_per_night": "80.00",
    "original_price": "100.00",
    "discount_percent": "20",
    "checkin_date": "2027-03-01",
    "checkout_date": "2027-03-05",
    "is_available": "True",
    "categories": "beach,luxury",
    "created_at": "2026-08-28 00:10:25",
}


def row(number: int = 1, **fields: str) -> dict[str, str]:
    """Return a valid row with the id `number` and with changed `fields`."""
    return {**VALID_ROW, "id": str(number), **fields}


def rows_with_conflicts(count: int) -> list[dict[str, str]]:
    """Return rows of many hotels, with one conflict and one repeated id in each hundred."""
    rows = []
    for number in range(count):
        hotel = number // 100 if number % 100 < 90 else number % (1 + number // 100)
        fields = {"hotel_name": f"Hotel {hotel}", "hotel_phone": f"+{hotel}"}
        if number % 100 == 50:
            fields["hotel_name"] = "Another"
        identifier = number - 300 if number % 100 == 70 and number > 300 else number + 1
        rows.append(row(identifier, **fields, categories=f"c{number % 7},c{number % 3}"))
    return rows


def as_csv(
    rows: Iterable[Mapping[str, str]], names: Iterable[str] = NAMES, *, end: str = "\n"
) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(names), lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    path.write_text(as_csv(rows), encoding="utf-8", newline="")
    return path


def read_rejects(path: Path) -> list[tuple[int, str, str]]:
    """Return line, column and code of each reject in a rejects file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(r["line"]), r["column"], r["code"]) for r in csv.DictReader(file)]


def counts(summary: LoadSummary) -> dict[str, int]:
    """Return the counts of a summary above zero, and check that they add up to the rows read."""
    names = ("inserted", "updated", "unchanged", "duplicates", "rejected", "held_back")
    found = {name: getattr(summary, name) for name in names if getattr(summary, name)}
    assert sum(found.values()) == summary.rows_read
    return found
