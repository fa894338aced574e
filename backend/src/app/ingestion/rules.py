"""Rules for single fields. Faster checks of whole columns must give the same results.

A rule takes the text of a field in the file. If the field is valid, the rule returns canonical text
that PostgreSQL can read. Otherwise it returns a `RejectReason`. Fields with the same value, such as
"1.5" and "1.50", have the same canonical text.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from app.core.limits import MAX_CATEGORIES, MAX_CATEGORY_LENGTH, PRICE_END, PRICE_PLACES

_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK = r"(?:[01][0-9]|2[0-3])(?::?[0-5][0-9](?::?[0-5][0-9](?:[.,][0-9]+)?)?)?"
# A pattern for ISO 8601 timestamps in extended and basic formats. The time is required.
_TIMESTAMP = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4}-?W[0-9]{2}-?[1-7])"
    rf"[Tt ]{_CLOCK}(?:[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
)
_BOOLEANS = {
    **dict.fromkeys(("True", "true", "1", "yes"), "t"),
    **dict.fromkeys(("False", "false", "0", "no"), "f"),
}
# A pattern for a category name: plain, or quoted as in CSV with inner quotes doubled. A quoted name
# may contain commas.
_CATEGORY = re.compile(r'\s*"((?:[^"]|"")*+)"\s*(?:,|\Z)|([^,]*)(?:,|\Z)')


@dataclass(frozen=True, slots=True)
class RejectReason:
    """The reason for rejecting a field: a stable code for programs and a message for users."""

    code: str
    message: str


RuleResult = str | RejectReason
Rule = Callable[[str], RuleResult]

INVALID_CHARACTER = RejectReason("invalid_character", "must not contain NUL characters")
REQUIRED = RejectReason("required", "must not be empty")
CHECKOUT_BEFORE_CHECKIN = RejectReason("checkout_not_after_checkin", "must be after checkin_date")
TOO_MANY_CATEGORIES = RejectReason("too_many_categories", f"must name at most {MAX_CATEGORIES}")
CATEGORY_TOO_LONG = RejectReason(
    "category_too_long", f"each category must have at most {MAX_CATEGORY_LENGTH} characters"
)


def required(rule: Rule) -> Rule:
    """Return a rule that trims fields, rejects empty ones, and applies `rule` to the others."""

    def checked(value: str) -> RuleResult:
        if "\0" in value:
            return INVALID_CHARACTER
        trimmed = value.strip()
        return rule(trimmed) if trimmed else REQUIRED

    return checked


def text(longest: int) -> Rule:
    """Return a rule that trims a text, normalizes it to NFC, and allows 1 to `longest` characters.

    The API normalizes texts in the same way. Without normalization, "Zürich" with a composed and
    with a decomposed "ü" would be two cities.
    """
    too_long = RejectReason("too_long", f"must have at most {longest} characters")

    def checked(value: str) -> RuleResult:
        composed = unicodedata.normalize("NFC", value)
        return composed if len(composed) <= longest else too_long

    return required(checked)


def integer(least: int, most: int) -> Rule:
    """Return a rule for integers from `least` to `most`.

    Leading zeros and a sign are allowed. A decimal point, as in "3.0", is rejected.
    """
    not_an_integer = RejectReason("not_an_integer", "must be an integer")
    out_of_range = RejectReason("out_of_range", f"must be between {least} and {most}")
    most_digits = len(str(most))

    def checked(value: str) -> RuleResult:
        if not _INTEGER.fullmatch(value):
            return not_an_integer
        # Check the length first, because int() raises an error for thousands of digits.
        digits = value.lstrip("+-").lstrip("0")
        if len(digits) > most_digits:
            return out_of_range
        number = -int(digits or 0) if value[0] == "-" else int(digits or 0)
        return str(number) if least <= number <= most else out_of_range

    return required(checked)


def price() -> Rule:
    """Return a rule for prices above 0 and below 10^8 with at most two decimal places."""
    not_a_decimal = RejectReason("not_a_decimal", "must be a decimal number such as 199.50")
    too_many = RejectReason("too_many_decimals", "must have at most two decimal places")
    out_of_range = RejectReason("out_of_range", f"must be more than 0 and less than {PRICE_END}")

    def checked(value: str) -> RuleResult:
        if not _DECIMAL.fullmatch(value):
            return not_a_decimal
        if len(value.partition(".")[2]) > PRICE_PLACES:
            return too_many
        number = Decimal(value)
        return f"{number:.{PRICE_PLACES}f}" if 0 < number < PRICE_END else out_of_range

    return required(checked)


def calendar_date() -> Rule:
    """Return a rule for valid dates in the format `YYYY-MM-DD`."""
    not_a_date = RejectReason("not_a_date", "must be a date in the format YYYY-MM-DD")

    def checked(value: str) -> RuleResult:
        if not _DATE.fullmatch(value):
            return not_a_date
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            return not_a_date

    return required(checked)


def boolean() -> Rule:
    """Return a rule that accepts exactly the spellings in `_BOOLEANS`."""
    not_a_boolean = RejectReason(
        "not_a_boolean", "must be one of True, False, true, false, 1, 0, yes, no"
    )
    return required(lambda value: _BOOLEANS.get(value, not_a_boolean))


def timestamp() -> Rule:
    """Return a rule that converts timestamps to UTC.

    Timestamps without an offset are taken as UTC. Digits after the microseconds are dropped.
    """
    not_a_timestamp = RejectReason(
        "not_a_timestamp", "must be a timestamp in the format YYYY-MM-DD HH:MM:SS or ISO 8601"
    )

    def checked(value: str) -> RuleResult:
        if not _TIMESTAMP.fullmatch(value):
            return not_a_timestamp
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                moment = moment.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return not_a_timestamp
        return moment.isoformat(sep=" ")

    return required(checked)


def category_names(value: str) -> list[str] | RejectReason:
    """Split a field into trimmed category names, without changing their case."""
    if "\0" in value:
        return INVALID_CHARACTER
    parts = (
        quoted.replace('""', '"') if quoted is not None else plain
        for quoted, plain in (found.groups() for found in _CATEGORY.finditer(value))
    )
    return [name for part in parts if (name := part.strip())]


def category_set(names: list[str]) -> tuple[str, ...] | RejectReason:
    """Sort a deal's lower-case category names, drop duplicates, and check the limits."""
    distinct = sorted(set(names))
    if any(len(name) > MAX_CATEGORY_LENGTH for name in distinct):
        return CATEGORY_TOO_LONG
    return tuple(distinct) if len(distinct) <= MAX_CATEGORIES else TOO_MANY_CATEGORIES
