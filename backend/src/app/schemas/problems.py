"""What Pydantic found wrong, in the words of the error envelope."""

from collections.abc import Mapping
from typing import Any

from app.errors import ErrorDetail

MAX_NAME_LENGTH = 100
# A request with a thousand wrong parameters is told of the first few.
MAX_DETAILS = 20


def error_detail(problem: Mapping[str, Any]) -> ErrorDetail:
    """Where and what, without the value itself, which could be anything and any size."""
    field = ".".join(str(part)[:MAX_NAME_LENGTH] for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return ErrorDetail(field, "There is no such field")
    return ErrorDetail(field, problem["msg"].removeprefix("Value error, "))
