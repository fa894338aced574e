"""Warnings about anomalies in rows that are loaded nevertheless."""

from collections.abc import Mapping
from dataclasses import dataclass

SURPLUS_EMPTY_FIELDS = "surplus_empty_fields"

_MESSAGES: Mapping[str, str] = {
    SURPLUS_EMPTY_FIELDS: "Empty fields after the header's last column were dropped",
}


@dataclass(frozen=True, slots=True)
class LoadWarning:
    """A kind of anomaly and the count of affected rows."""

    code: str
    message: str
    rows: int


def load_warnings(rows_by_code: Mapping[str, int]) -> list[LoadWarning]:
    """Return the warnings sorted by code. The message of an unknown code is the code itself."""
    return [
        LoadWarning(code, _MESSAGES.get(code, code), rows)
        for code, rows in sorted(rows_by_code.items())
    ]
