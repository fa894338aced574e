"""Exception handlers that convert errors of the service and its frameworks to JSON responses."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core.errors import AppError, InvalidInputError, ServiceUnavailableError
from app.schemas.validation_errors import MAX_DETAILS, error_detail, error_envelope

_CODES = {
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    503: "SERVICE_UNAVAILABLE",
}


class FrameworkError(AppError):
    """An error that Starlette raises, for example for an unknown path or a wrong method."""

    def __init__(self, status: int) -> None:
        # Starlette returns 400 for a body that cannot be parsed. The API uses 422 for every invalid
        # request.
        self.status = InvalidInputError.status if status == HTTPStatus.BAD_REQUEST else status
        self.code = _CODES.get(self.status, AppError.code)
        super().__init__(HTTPStatus(self.status).phrase)


def envelope(
    request_id: str, error: AppError, headers: Mapping[str, str] | None = None
) -> Response:
    """Convert `error` to a JSON response with the headers that its status requires."""
    response = Response(
        to_json(error_envelope(error, request_id)),
        status_code=error.status,
        headers=headers,
        media_type="application/json",
    )
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = getattr(error, "retry_after", ServiceUnavailableError.retry_after)
        response.headers["Retry-After"] = str(seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def internal_error(request_id: str) -> Response:
    """Return a 500 without the cause. The log contains the cause under the same request id."""
    return envelope(request_id, AppError())


def install(app: FastAPI) -> None:
    """Register the exception handlers on `app`."""
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101 - for mypy: the handler's only type
    return envelope(request.state.request_id, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    details = [error_detail(problem) for problem in error.errors()[:MAX_DETAILS]]
    return envelope(request.state.request_id, InvalidInputError(details=details))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_allowed_methods(request))}
    return envelope(request.state.request_id, FrameworkError(error.status_code), headers)


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes that match the path.

    Starlette's own `Allow` header lists only the methods of the first route.
    """
    methods: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        if context.path_regex.match(request.scope["path"]):
            methods |= context.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
