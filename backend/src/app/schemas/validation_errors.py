"""Conversion of errors of the service and of pydantic to the JSON error envelope."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import AppError, ErrorDetail
from app.schemas.common import ErrorBody, ErrorEnvelope

MAX_NAME_LENGTH = 100
# The maximum number of details in one response.
MAX_DETAILS = 20


def error_detail(problem: Mapping[str, Any]) -> ErrorDetail:
    """Convert a pydantic error to field and message. Omit the value, which can have any size."""
    field = ".".join(str(part)[:MAX_NAME_LENGTH] for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return ErrorDetail(field, "There is no such field")
    return ErrorDetail(field, problem["msg"].removeprefix("Value error, "))


def error_envelope(error: AppError, request_id: str) -> ErrorEnvelope:
    """Convert an error to the envelope with its code, message, request id and details."""
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
