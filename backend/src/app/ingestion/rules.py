"""What one value of a column may be: plain functions, the definition that every faster path obeys.

A rule takes a field as it came and returns either the canonical text that PostgreSQL reads, or a
`RejectReason`. Two fields with one canonical text are the same value ("1.5" and "1.50").
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
# ISO 8601 in its extended and basic forms; a date alone names no moment.
_TIMESTAMP = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4}-?W[0-9]{2}-?[1-7])"
    rf"[Tt ]{_CLOCK}(?:[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
)
_BOOLEANS = {
    **dict.fromkeys(("True", "true", "1", "yes"), "t"),
    **dict.fromkeys(("False", "false", "0", "no"), "f"),
}
# A name as it is; or in quotes, with quotes inside doubled, as CSV does it, so that a comma may be
# in it.
_CATEGORY = re.compile(r'\s*"((?:[^"]|"")*+)"\s*(?:,|\Z)|([^,]*)(?:,|\Z)')


@dataclass(frozen=True, slots=True)
class RejectReason:
    """Why a field was rejected: a stable code for programs, a message for people."""

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
    """`rule` for the trimmed field, when there is one."""

    def checked(value: str) -> RuleResult:
        if "\0" in value:
            return INVALID_CHARACTER
        trimmed = value.strip()
        return rule(trimmed) if trimmed else REQUIRED

    return checked


def text(longest: int) -> Rule:
    """1 to `longest` characters after trimming, composed (NFC) as the API's are.

    Otherwise "Zürich" from a file and "Zürich" from a client would be two cities.
    """
    too_long = RejectReason("too_long", f"must have at most {longest} characters")

    def checked(value: str) -> RuleResult:
        composed = unicodedata.normalize("NFC", value)
        return composed if len(composed) <= longest else too_long

    return required(checked)


def integer(least: int, most: int) -> Rule:
    """A decimal integer, `least` to `most`; leading zeros and a sign are fine, "3.0" is not."""
    not_an_integer = RejectReason("not_an_integer", "must be an integer")
    out_of_range = RejectReason("out_of_range", f"must be between {least} and {most}")
    most_digits = len(str(most))

    def checked(value: str) -> RuleResult:
        if not _INTEGER.fullmatch(value):
            return not_an_integer
        # Python refuses to convert thousands of digits; zeros in front do not count.
        digits = value.lstrip("+-").lstrip("0")
        if len(digits) > most_digits:
            return out_of_range
        number = -int(digits or 0) if value[0] == "-" else int(digits or 0)
        return str(number) if least <= number <= most else out_of_range

    return required(checked)


def price() -> Rule:
    """More than 0, less than 10^8, at most two places; never a binary float on the way."""
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
    """A day that exists, as `YYYY-MM-DD`."""
    not_a_date = RejectReason("not_a_date", "must be a date as YYYY-MM-DD")

    def checked(value: str) -> RuleResult:
        if not _DATE.fullmatch(value):
            return not_a_date
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            return not_a_date

    return required(checked)


def boolean() -> Rule:
    """The eight spellings of the specification, and no other."""
    not_a_boolean = RejectReason(
        "not_a_boolean", "must be one of True, False, true, false, 1, 0, yes, no"
    )
    return required(lambda value: _BOOLEANS.get(value, not_a_boolean))


def timestamp() -> Rule:
    """A moment, in UTC when the field names no zone; digits past the microsecond are dropped."""
    not_a_timestamp = RejectReason(
        "not_a_timestamp", "must be a timestamp as YYYY-MM-DD HH:MM:SS or in ISO 8601"
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
    """The names in a field, trimmed, in whatever case they came."""
    if "\0" in value:
        return INVALID_CHARACTER
    parts = (
        quoted.replace('""', '"') if quoted is not None else plain
        for quoted, plain in (found.groups() for found in _CATEGORY.finditer(value))
    )
    return [name for part in parts if (name := part.strip())]


def category_set(names: list[str]) -> tuple[str, ...] | RejectReason:
    """The set that a deal's lower-cased names are, sorted; the limits are for what is left."""
    distinct = sorted(set(names))
    if any(len(name) > MAX_CATEGORY_LENGTH for name in distinct):
        return CATEGORY_TOO_LONG
    return tuple(distinct) if len(distinct) <= MAX_CATEGORIES else TOO_MANY_CATEGORIES
