"""Uploads to `POST /imports`, and the imports that the API returns."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
from pydantic import TypeAdapter
from tests.support.csv_files import as_csv, row

from app.core.config import Settings
from app.schemas.imports import ImportResponse

DECIDED = ("inserted", "updated", "unchanged", "duplicates", "rejected", "held_back")
CSV = {"Content-Type": "text/csv"}

_IMPORT = TypeAdapter(ImportResponse)


def checked(said: Any) -> dict[str, Any]:
    """Check the invariants of every import, and return it."""
    _IMPORT.validate_python(said)
    assert list(said) == list(ImportResponse.__annotations__)
    assert sum(said[name] for name in DECIDED) == said["rows_read"]
    assert said["bytes_read"] <= said["bytes_total"]
    final = said["state"] in {"succeeded", "failed", "cancelled"}
    assert (said["finished_at"] is not None) == final
    assert (said["links"]["rejects"] is not None) <= (said["rejected"] > 0)
    result: dict[str, Any] = said
    return result


def import_counts(said: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of an import above zero."""
    return {name: said[name] for name in DECIDED if said[name]}


async def submit(
    api: httpx.AsyncClient, content: bytes | Iterable[Mapping[str, str]], **options: bool
) -> dict[str, Any]:
    """Upload a file, or rows, and return the new import."""
    body = content if isinstance(content, bytes) else as_csv(content).encode()
    parameters = {name: str(value).lower() for name, value in options.items()}
    response = await api.post("/imports", content=body, params=parameters, headers=CSV)
    assert response.status_code == 202, response.text
    return checked(response.json())


async def find(api: httpx.AsyncClient, import_id: int) -> dict[str, Any]:
    response = await api.get(f"/imports/{import_id}")
    assert response.status_code == 200, response.text
    return checked(response.json())


async def cancel(api: httpx.AsyncClient, import_id: int) -> dict[str, Any]:
    response = await api.delete(f"/imports/{import_id}")
    assert response.status_code == 200, response.text
    return checked(response.json())


async def get_rejects(api: httpx.AsyncClient, import_id: int) -> bytes:
    response = await api.get(f"/imports/{import_id}/rejects")
    assert response.status_code == 200, response.text
    return response.content


def stored_files(settings: Settings) -> list[str]:
    """Return the names in the folder for uploads, finished or not."""
    folder: Path = settings.data_dir / "uploads"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def eventful_rows(count: int) -> list[dict[str, str]]:
    """Return rows of every kind that a load distinguishes.

    New hotels appear throughout the file. Some take the phone of another hotel, or a second phone.
    Ids repeat with the same row and with another row. Some rows are invalid.
    """
    rows: list[dict[str, str]] = []
    for number in range(1, count + 1):
        hotel = number // 13
        made = row(number, hotel_name=f"Hotel {hotel}", hotel_phone=f"+{hotel}")
        if number % 11 == 5:
            made["hotel_name"] = f"Hotel {hotel // 2} too"
        elif number % 17 == 7:
            made["hotel_phone"] = f"+{hotel}0000"
        elif number % 7 == 3:
            made = dict(rows[number // 2])
        elif number % 19 == 4:
            made = {**rows[number // 3], "room_type": "attic"}
        elif number % 9 == 2:
            made["discount_percent"] = "x"
        rows.append(made)
    return rows
