"""What Pydantic found wrong, in the words of the error envelope."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import AppError, ErrorDetail
from app.schemas.common import ErrorBody, ErrorEnvelope

MAX_NAME_LENGTH = 100
# A request with a thousand wrong parameters is told of the first few.
MAX_DETAILS = 20


def error_detail(problem: Mapping[str, Any]) -> ErrorDetail:
    """Where and what, without the value itself, which could be anything and any size."""
    field = ".".join(str(part)[:MAX_NAME_LENGTH] for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return ErrorDetail(field, "There is no such field")
    return ErrorDetail(field, problem["msg"].removeprefix("Value error, "))


def error_envelope(error: AppError, request_id: str) -> ErrorEnvelope:
    """A code for programs, a message for people, what is wrong where."""
    content: ErrorBody = {
        "code": error.code,
        "message": error.message,
        "request_id": request_id,
    }
    if error.details:
        content["details"] = [
            {"field": detail.field, "message": detail.message} for detail in error.details
        ]
    return {"error": content}
