"""CHECK constraints that several tables have."""

from sqlalchemy import CheckConstraint


def trimmed_text(column: str, max_length: int) -> CheckConstraint:
    """Allow 1 to `max_length` characters without space around them."""
    rule = f"{column} = btrim({column}) AND char_length({column}) BETWEEN 1 AND {max_length}"
    return CheckConstraint(rule, name=column)
