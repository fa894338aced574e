import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInputError
from app.services.support.cursors import CursorCodec

pytestmark = pytest.mark.unit

CODEC = CursorCodec(b"k" * 32)
QUERY = {"list": "deals", "sort": "id", "filters": {"city": "Berlin", "price_min": Decimal("1.5")}}
VALUES: list[Any] = [
    Decimal("176.10"),
    date(2027, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    2**63 - 1,
]


def test_cursor_round_trip_returns_values() -> None:
    assert CODEC.decode(QUERY, CODEC.encode(QUERY, VALUES)) == VALUES


@pytest.mark.parametrize(
    "other",
    [
        {**QUERY, "list": "hotels"},
        {**QUERY, "sort": "-id"},
        {**QUERY, "filters": {}},
        {**QUERY, "filters": {"city": "Paris", "price_min": Decimal("1.5")}},
    ],
)
def test_cursor_of_other_query_raises_invalid_input(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as refused:
        CODEC.decode(other, CODEC.encode(QUERY, VALUES))

    assert refused.value.details[0].field == "query.cursor"


def test_cursor_of_other_key_raises_invalid_input() -> None:
    with pytest.raises(InvalidInputError):
        CursorCodec(b"x" * 32).decode(QUERY, CODEC.encode(QUERY, VALUES))


def test_cursor_with_altered_character_raises_invalid_input() -> None:
    cursor = CODEC.encode(QUERY, [1])
    for position, old in enumerate(cursor):
        new = "A" if old != "A" else "Q"
        with pytest.raises(InvalidInputError):
            CODEC.decode(QUERY, cursor[:position] + new + cursor[position + 1 :])


def test_cursor_fits_into_an_address() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,199}", CODEC.encode(QUERY, VALUES))


@given(st.text(st.characters(), max_size=100))
def test_cursor_arbitrary_text_raises_invalid_input(cursor: str) -> None:
    with pytest.raises(InvalidInputError):
        CODEC.decode(QUERY, cursor)
