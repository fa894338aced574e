"""Warnings: anomalies of rows that do not prevent loading, counted by code."""

from collections.abc import Mapping
from dataclasses import dataclass

SURPLUS_EMPTY_FIELDS = "surplus_empty_fields"

_MESSAGES: Mapping[str, str] = {
    SURPLUS_EMPTY_FIELDS: "Empty fields after the header's last column were dropped",
}


@dataclass(frozen=True, slots=True)
class LoadWarning:
    """A kind of anomaly, with the number of affected rows."""

    code: str
    message: str
    rows: int


def load_warnings(rows_by_code: Mapping[str, int]) -> list[LoadWarning]:
    """Return the warnings in order of their codes. An unknown code is used as its message."""
    return [
        LoadWarning(code, _MESSAGES.get(code, code), rows)
        for code, rows in sorted(rows_by_code.items())
    ]
