"""CHECK constraints shared by several tables."""

from sqlalchemy import CheckConstraint


def trimmed_text(column: str, max_length: int) -> CheckConstraint:
    """Return a CHECK constraint that requires trimmed text of 1 to `max_length` characters."""
    rule = f"{column} = btrim({column}) AND char_length({column}) BETWEEN 1 AND {max_length}"
    return CheckConstraint(rule, name=column)
