"""Error responses for the OpenAPI document, with an example of each message."""

from typing import Any

from app.core.errors import (
    AppError,
    ConflictError,
    ErrorDetail,
    ForbiddenError,
    InvalidInputError,
    PayloadTooLargeError,
    PreconditionFailedError,
    ServiceUnavailableError,
    TransactionConflictError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from app.http.openapi.responses import AUTHENTICATE, REQUEST_ID, RETRY_AFTER, Declared, Header
from app.schemas.common import ErrorEnvelope
from app.schemas.validation_errors import error_envelope

Refusal = AppError | type[AppError]

_HEADERS: dict[int, Header] = {
    UnauthorizedError.status: AUTHENTICATE,
    ServiceUnavailableError.status: RETRY_AFTER,
}
_EXAMPLE_ID = "0f8fad5bd9cb469fa16570867728950e"


def validation_error(field: str, message: str) -> InvalidInputError:
    """Return the error for a request with one invalid field."""
    return InvalidInputError(details=[ErrorDetail(field, message)])


UNKNOWN_PARAMETER = validation_error("query.verbose", "There is no such field")
NOT_A_BOOLEAN = validation_error(
    "query.available_only", "Input should be a valid boolean, unable to interpret input"
)
LIMIT_TOO_LARGE = validation_error("query.limit", "Input should be less than or equal to 100")
WRONG_CURSOR = validation_error(
    "query.cursor", "Not a cursor of this list with these filters and this sort"
)


def not_an_id(name: str) -> InvalidInputError:
    """Return the error for a path parameter that should be an id but is not a number."""
    message = "Input should be a valid integer, unable to parse string as an integer"
    return validation_error(f"path.{name}", message)


# Errors of all requests that write deals or hotels.
WRITE_ERRORS: tuple[Refusal, ...] = (
    UnauthorizedError,
    ForbiddenError("The key lacks the scope deals:write"),
    TransactionConflictError,
    PayloadTooLargeError,
)
# Errors of requests that create a deal or a hotel.
CREATE_ERRORS: tuple[Refusal, ...] = (
    *WRITE_ERRORS,
    UnsupportedMediaTypeError,
    ConflictError("A request with this Idempotency-Key is still running, try again shortly"),
    validation_error(
        "header.idempotency-key", "was used with another body; a new request needs a new key"
    ),
)
# Errors of requests that change or delete a deal or a hotel.
DELETE_ERRORS: tuple[Refusal, ...] = (*WRITE_ERRORS, PreconditionFailedError)
UPDATE_ERRORS: tuple[Refusal, ...] = (*DELETE_ERRORS, UnsupportedMediaTypeError)


def errors(*refusals: Refusal) -> Declared:
    """Return a route's `responses` argument with these errors and the errors of all routes.

    An error class is documented with its default message, and an instance with its own message.
    """
    raised = [each() if isinstance(each, type) else each for each in refusals]
    given = {error.status for error in raised}
    everywhere = (InvalidInputError(), ServiceUnavailableError(), AppError())
    raised += [error for error in everywhere if error.status not in given]
    by_status: dict[int, list[AppError]] = {}
    for error in sorted(raised, key=lambda error: error.status):
        by_status.setdefault(error.status, []).append(error)
    return {status: _declared(status, same) for status, same in by_status.items()}


def _declared(status: int, raised: list[AppError]) -> dict[str, Any]:
    examples = {
        f"{error.code.lower()}_{number}": {
            "summary": _summary(error),
            "value": error_envelope(error, _EXAMPLE_ID),
        }
        for number, error in enumerate(raised, 1)
    }
    return {
        "model": ErrorEnvelope,
        "description": _GENERAL.get(status, raised[0].default_message),
        "headers": {**REQUEST_ID, **_HEADERS.get(status, {})},
        "content": {"application/json": {"examples": examples}},
    }


# Descriptions of statuses for which the first error's message would be too specific.
_GENERAL = {ConflictError.status: ConflictError.default_message}


def _summary(error: AppError) -> str:
    if not error.details:
        return error.message
    detail = error.details[0]
    return f"{detail.field}: {detail.message}"
