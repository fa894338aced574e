"""Every error the service raises on purpose.

Services raise subclasses of `AppError`; `app.http.exception_handlers` turns them into the HTTP
envelope, the CLI into one line and an exit code. A status is an HTTP number, but no HTTP library is
imported here: it is the vocabulary that clients, routes (`responses=`) and logs share.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class DealsError(Exception):
    """Base of all errors a person is meant to read; the message is one clear line."""


class ConfigurationError(DealsError):
    """The service cannot start with these settings."""


class EmbeddedPostgresError(DealsError):
    """The embedded PostgreSQL cannot be started here; the message says why and what to do."""


class DatabaseUnreachableError(DealsError):
    """No connection, or none any more; the message says where to, for how long, and why.

    `kind` is one word or two for scripts: refused, timeout, authentication, ...
    """

    def __init__(self, message: str, kind: str, advice: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.advice = advice


class NotSeenError(DealsError):
    """Something of the database could not be looked at; the message says why."""


class LoadStoppedError(DealsError):
    """A load is not to go on: it was cancelled, or another process has taken it over."""


class TemporaryFileError(DealsError):
    """A temporary file of this process cannot be written: the disk is full, say."""


class InvalidFileError(DealsError):
    """A deals.csv that cannot be loaded at all; nothing of it was."""


@dataclass(frozen=True)
class ErrorDetail:
    """One wrong field: where, in the client's terms, and what is wrong with it."""

    field: str
    message: str


class AppError(DealsError):
    """An error a client gets, in the error envelope."""

    status: int = 500
    code: str = "INTERNAL_ERROR"
    default_message: str = "Internal server error"

    def __init__(self, message: str | None = None, details: Sequence[ErrorDetail] = ()) -> None:
        self.message = message or self.default_message
        self.details = tuple(details)
        super().__init__(self.message)


class InvalidInputError(AppError):
    """What the client sent breaks a rule; `details` say which field and which rule."""

    status = 422
    code = "VALIDATION_ERROR"
    default_message = "The request is not valid"


class NotFoundError(AppError):
    """The path or a reference names something that does not exist."""

    status = 404
    code = "NOT_FOUND"
    default_message = "Not found"


class ConflictError(AppError):
    """Another row, or another request at this moment, stands against it."""

    status = 409
    code = "CONFLICT"
    default_message = "The request conflicts with what is stored"


class TransactionConflictError(ConflictError):
    """Another transaction stood against this one, which is undone; made anew it may go through."""

    default_message = "Another request changed the same data, try again"


class UnauthorizedError(AppError):
    """There is no valid key with the request; which of the two is not told."""

    status = 401
    code = "UNAUTHORIZED"
    default_message = "A valid API key is needed"


class ForbiddenError(AppError):
    """The key is valid but may not do this."""

    status = 403
    code = "FORBIDDEN"
    default_message = "The key may not do this"


class NotAcceptableError(AppError):
    """The client takes none of the formats there are."""

    status = 406
    code = "NOT_ACCEPTABLE"
    default_message = "None of the accepted formats is available"


class PreconditionFailedError(AppError):
    """The row is no longer what the client's `If-Match` says it is."""

    status = 412
    code = "PRECONDITION_FAILED"
    default_message = "It has changed since; get it again"


class UnsupportedMediaTypeError(AppError):
    """The body is in a format that the route does not read."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    default_message = "The body must be application/json"


class PayloadTooLargeError(AppError):
    """The body is larger than the service reads."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    default_message = "The body is too large"


class URITooLongError(AppError):
    """The request's target is longer than the service reads."""

    status = 414
    code = "URI_TOO_LONG"
    default_message = "The address is too long"


class RequestHeadersTooLargeError(AppError):
    """The request has more headers, or longer ones, than the service reads."""

    status = 431
    code = "REQUEST_HEADER_FIELDS_TOO_LARGE"
    default_message = "The headers are too large or too many"


class ServiceUnavailableError(AppError):
    """The database does not answer now; the same request may succeed in `retry_after` seconds."""

    status = 503
    code = "SERVICE_UNAVAILABLE"
    retry_after = 1
    default_message = "The database is not available, try again shortly"


class StorageUnavailableError(ServiceUnavailableError):
    """Where uploaded files are kept does not answer now, or refuses the service."""

    code = "STORAGE_UNAVAILABLE"
    default_message = "The storage of uploaded files is not available, try again shortly"


class StorageFullError(AppError):
    """There is no room for the uploaded file; the same request succeeds once there is."""

    status = 507
    code = "STORAGE_FULL"
    default_message = "There is no room to store the file"


class TooManyExportsError(ServiceUnavailableError):
    """As many exports are running as may."""

    default_message = "Too many exports are running, try again later"
    retry_after = 10


class OverloadedError(ServiceUnavailableError):
    """As many requests are in progress as one process carries."""

    default_message = "Too many requests are in progress, try again shortly"


class RequestTimeoutError(AppError):
    """The request did not arrive in time, or not all of it."""

    status = 408
    code = "REQUEST_TIMEOUT"
    default_message = "The request did not arrive in time"
