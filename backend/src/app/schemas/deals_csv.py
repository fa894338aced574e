"""The columns of the CSV files that loads read and exports write.

The columns are the fields of `DealCreate`, the fields of the hotel in place of `hotel_id`, and
`created_at`.
"""

import csv
import io
from typing import Any

from app.schemas.deals import DEAL_EXAMPLE, DealCreate
from app.schemas.hotels import HotelCreate

CATEGORIES = "categories"
_FIELDS = [name for name in DealCreate.model_fields if name not in {"hotel_id", CATEGORIES}]
_RENAMED = {"external_id": "id", "star_rating": "hotel_star_rating"}

# Maps names of CSV columns to fields of deals and hotels.
DEAL_COLUMNS = {_RENAMED.get(name, name): name for name in [*_FIELDS, "created_at"]}
HOTEL_COLUMNS = {f"hotel_{name}": name for name in HotelCreate.model_fields}

_FIRST = ("id", "hotel_name", "hotel_city", "hotel_country", "hotel_star_rating", "hotel_phone")
_BEFORE_CATEGORIES = [name for name in DEAL_COLUMNS if name not in {*_FIRST, "created_at"}]
# All columns in the order of an exported file.
COLUMNS = (*_FIRST, *_BEFORE_CATEGORIES, CATEGORIES, "created_at")


def csv_example(**fields: str) -> str:
    """Return the text of a CSV file with one row. `fields` replaces or appends columns."""
    example: dict[str, Any] = {
        **{name: DEAL_EXAMPLE[column] for name, column in DEAL_COLUMNS.items()},
        **{name: DEAL_EXAMPLE["hotel"][column] for name, column in HOTEL_COLUMNS.items()},
        CATEGORIES: ",".join(DEAL_EXAMPLE[CATEGORIES]),
        "created_at": "2026-11-21 11:35:02",
    }
    row = {**{name: example[name] for name in COLUMNS}, **fields}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row, row.values()])
    return text.getvalue()
