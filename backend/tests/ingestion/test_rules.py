import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingestion import columns, rules
from app.ingestion.rules import RejectReason, Rule

pytestmark = pytest.mark.unit

RULES = {column.name: column.rule for column in columns.SCALARS}


def apply_rule(rule: Rule, value: str) -> str:
    result = rule(value)
    return result.code if isinstance(result, RejectReason) else result


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", "7"),
        (" 7 ", "7"),
        ("+007", "7"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "out_of_range"),
        ("0", "out_of_range"),
        ("-5", "out_of_range"),
        ("9" * 5000, "out_of_range"),
        ("0" * 5000 + "1", "1"),
        ("3.0", "not_an_integer"),
        ("1e3", "not_an_integer"),
        ("٣", "not_an_integer"),
        ("1_000", "not_an_integer"),
        ("", "required"),
        ("  ", "required"),
        ("1\0", "invalid_character"),
    ],
)
def test_integer_rule_returns_canonical_value_or_code(value: str, expected: str) -> None:
    assert apply_rule(RULES["id"], value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.5", "1.50"),
        ("1.", "1.00"),
        (".5", "0.50"),
        ("+12", "12.00"),
        ("00012.30", "12.30"),
        ("99999999.99", "99999999.99"),
        ("100000000", "out_of_range"),
        ("0.00", "out_of_range"),
        ("-1", "out_of_range"),
        ("0.001", "too_many_decimals"),
        ("1.500", "too_many_decimals"),
        ("1e2", "not_a_decimal"),
        ("NaN", "not_a_decimal"),
        ("inf", "not_a_decimal"),
        ("1,5", "not_a_decimal"),
        (".", "not_a_decimal"),
        ("", "required"),
    ],
)
def test_price_rule_returns_canonical_value_or_code(value: str, expected: str) -> None:
    assert apply_rule(RULES["price_per_night"], value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2028-02-29", "2028-02-29"),
        ("2027-02-29", "not_a_date"),
        ("2027-13-01", "not_a_date"),
        ("0000-01-01", "not_a_date"),
        ("2027-1-1", "not_a_date"),
        ("20270101", "not_a_date"),
        ("2027-01-01 00:00:00", "not_a_date"),
        ("", "required"),
    ],
)
def test_date_rule_returns_canonical_value_or_code(value: str, expected: str) -> None:
    assert apply_rule(RULES["checkin_date"], value) == expected


@pytest.mark.parametrize("value", ["True", "true", "1", "yes", "False", "false", "0", "no"])
def test_boolean_rule_known_spelling_returns_t_or_f(value: str) -> None:
    expected = "t" if value in {"True", "true", "1", "yes"} else "f"
    assert apply_rule(RULES["is_available"], f" {value}") == expected


@pytest.mark.parametrize("value", ["maybe", "TRUE", "2", "t"])
def test_boolean_rule_other_spelling_returns_not_a_boolean(value: str) -> None:
    assert apply_rule(RULES["is_available"], value) == "not_a_boolean"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-08-28 00:10:25", "2026-08-28 00:10:25"),
        ("2026-08-28T00:10:25", "2026-08-28 00:10:25"),
        ("2026-08-28T00:10:25Z", "2026-08-28 00:10:25"),
        ("2026-08-28T00:10:25+02:00", "2026-08-27 22:10:25"),
        ("2026-08-28T00:10:25.5-0330", "2026-08-28 03:40:25.500000"),
        ("20260828T001025", "2026-08-28 00:10:25"),
        ("2026-08-28 00:10", "2026-08-28 00:10:00"),
        ("2026-08-28", "not_a_timestamp"),
        ("2026-08-28 24:00:00", "not_a_timestamp"),
        ("2026-02-30 00:00:00", "not_a_timestamp"),
        ("0001-01-01 00:00:00+01:00", "not_a_timestamp"),
        ("2026-08-28x00:10:25", "not_a_timestamp"),
        ("yesterday", "not_a_timestamp"),
        ("", "required"),
    ],
)
def test_timestamp_rule_returns_canonical_value_or_code(value: str, expected: str) -> None:
    assert apply_rule(RULES["created_at"], value) == expected


@pytest.mark.parametrize(
    ("column", "longest"),
    [("hotel_name", 200), ("hotel_phone", 40), ("room_type", 50)],
)
def test_text_rule_trims_before_counting_characters(column: str, longest: int) -> None:
    assert apply_rule(RULES[column], f" {'é' * longest}\n") == "é" * longest
    assert apply_rule(RULES[column], "é" * (longest + 1)) == "too_long"
    assert apply_rule(RULES[column], " \t") == "required"


def test_category_names_are_trimmed_to_a_set() -> None:
    assert rules.category_names(" b ,, a,b ,") == ["b", "a", "b"]
    assert rules.category_set(["b", "a", "b"]) == ("a", "b")
    assert rules.category_names("") == []
    numbered = [f"c{number:02d}" for number in range(21)]
    assert rules.category_set(numbered) == rules.TOO_MANY_CATEGORIES
    assert rules.category_set([*numbered[:20], "c00"]) == tuple(numbered[:20])
    assert rules.category_set(["x" * 51]) == rules.CATEGORY_TOO_LONG


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ('"a,b",c', ["a,b", "c"]),
        (' "a,b" , "c"', ["a,b", "c"]),
        ('"say ""hi"", you"', ['say "hi", you']),
        ('"""a"""', ['"a"']),
        ('"a,\nb",c\nd', ["a,\nb", "c\nd"]),
        ('"", " ",a', ["a"]),
        # Text between two commas without quotes is literal.
        ('5" wide,7"', ['5" wide', '7"']),
        ('"a,b', ['"a', "b"]),
        ('"a" b,c', ['"a" b', "c"]),
    ],
)
def test_category_names_quoted_name_may_contain_comma(field: str, names: list[str]) -> None:
    assert rules.category_names(field) == names


@pytest.mark.parametrize("column", [c for c in columns.SCALARS if c.usual])
@given(data=st.data())
def test_rule_usual_spelling_is_canonical(column: columns.Column, data: st.DataObject) -> None:
    """The fast path skips the rule. It must accept only values that the rule leaves unchanged."""
    assert column.usual is not None
    usual = re.compile(column.usual, re.ASCII)
    value = data.draw(st.from_regex(usual, fullmatch=True))
    padded = value + "0" if column.is_price and value[-2] == "." else value
    assert column.rule(value) == padded
