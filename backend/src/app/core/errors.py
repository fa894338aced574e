"""The errors that the service raises on purpose.

Services raise subclasses of `AppError`. `app.http.exception_handlers` converts these errors to the
HTTP error envelope. The CLI prints the message as one line and exits with a code. `status` is an
HTTP status code, because clients, routes (`responses=`) and logs use HTTP status codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class DealsError(Exception):
    """The base class of errors whose message is shown to users. The message is one line."""


class ConfigurationError(DealsError):
    """An error in the settings or the installation that prevents the service from starting."""


class EmbeddedPostgresError(DealsError):
    """A failure to start the embedded PostgreSQL. The message says why and what to do."""


class DatabaseUnreachableError(DealsError):
    """A failed or lost database connection. The message gives the address, wait time and reason.

    `kind` is a short name for scripts, such as "refused", "timeout" or "authentication".
    """

    def __init__(self, message: str, kind: str, advice: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.advice = advice


class NotSeenError(DealsError):
    """A diagnostic query that failed. The message gives the reason."""


class LoadStoppedError(DealsError):
    """A load that must stop, because the load was cancelled or taken over by another process."""


class TemporaryFileError(DealsError):
    """A failed write to a temporary file, for example because the disk is full."""


class InvalidFileError(DealsError):
    """A file that cannot be read as a CSV file of deals."""


@dataclass(frozen=True)
class ErrorDetail:
    """One invalid field: its path in the request, and the rule that its value breaks."""

    field: str
    message: str


class AppError(DealsError):
    """An error that a client receives in the error envelope."""

    status: int = 500
    code: str = "INTERNAL_ERROR"
    default_message: str = "Internal server error"

    def __init__(self, message: str | None = None, details: Sequence[ErrorDetail] = ()) -> None:
        self.message = message or self.default_message
        self.details = tuple(details)
        super().__init__(self.message)


class InvalidInputError(AppError):
    """A request that breaks validation rules. `details` name each field and its rule."""

    status = 422
    code = "VALIDATION_ERROR"
    default_message = "The request is not valid"


class NotFoundError(AppError):
    """A request whose path or body names a resource that does not exist."""

    status = 404
    code = "NOT_FOUND"
    default_message = "Not found"


class ConflictError(AppError):
    """A request that conflicts with a stored row or with a concurrent request."""

    status = 409
    code = "CONFLICT"
    default_message = "The request conflicts with what is stored"


class TransactionConflictError(ConflictError):
    """A transaction that was rolled back because of a concurrent one. A retry may succeed."""

    default_message = "Another request changed the same data, try again"


class UnauthorizedError(AppError):
    """A request whose API key is missing or invalid. The response does not say which."""

    status = 401
    code = "UNAUTHORIZED"
    default_message = "A valid API key is needed"


class ForbiddenError(AppError):
    """A request whose API key is valid but lacks the required scope."""

    status = 403
    code = "FORBIDDEN"
    default_message = "The key may not do this"


class NotAcceptableError(AppError):
    """A request whose `Accept` header allows none of the available formats."""

    status = 406
    code = "NOT_ACCEPTABLE"
    default_message = "None of the accepted formats is available"


class PreconditionFailedError(AppError):
    """A failed precondition: the client's `If-Match` names a version other than the stored one."""

    status = 412
    code = "PRECONDITION_FAILED"
    default_message = "It has changed since; get it again"


class UnsupportedMediaTypeError(AppError):
    """A request whose body has a format that the route does not accept."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    default_message = "The body must be application/json"


class PayloadTooLargeError(AppError):
    """A request whose body is larger than the configured limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    default_message = "The body is too large"


class URITooLongError(AppError):
    """A request whose target (path and query) is longer than the limit."""

    status = 414
    code = "URI_TOO_LONG"
    default_message = "The address is too long"


class RequestHeadersTooLargeError(AppError):
    """A request with more or longer headers than the limits allow."""

    status = 431
    code = "REQUEST_HEADER_FIELDS_TOO_LARGE"
    default_message = "The headers are too large or too many"


class ServiceUnavailableError(AppError):
    """A temporary failure of the database. A retry after `retry_after` seconds may succeed."""

    status = 503
    code = "SERVICE_UNAVAILABLE"
    retry_after = 1
    default_message = "The database is not available, try again shortly"


class StorageUnavailableError(ServiceUnavailableError):
    """A failure of the upload storage, which does not answer or refuses access."""

    code = "STORAGE_UNAVAILABLE"
    default_message = "The storage of uploaded files is not available, try again shortly"


class StorageFullError(AppError):
    """An upload for which the storage has no space. A retry may succeed once space is free."""

    status = 507
    code = "STORAGE_FULL"
    default_message = "There is no room to store the file"


class TooManyExportsError(ServiceUnavailableError):
    """An export refused because the process has reached its limit of concurrent exports."""

    default_message = "Too many exports are running, try again later"
    retry_after = 10


class OverloadedError(ServiceUnavailableError):
    """A request refused because the process has reached its limit of concurrent requests."""

    default_message = "Too many requests are in progress, try again shortly"


class RequestTimeoutError(AppError):
    """A request whose head or body did not arrive in time."""

    status = 408
    code = "REQUEST_TIMEOUT"
    default_message = "The request did not arrive in time"
