"""FastAPI dependencies of the routes."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import InvalidInputError, UnauthorizedError, UnsupportedMediaTypeError
from app.http.etags import parse_if_match
from app.http.state import service_state
from app.repositories.idempotency import KeyIdentity
from app.schemas.common import OptionalParam
from app.schemas.validation_errors import MAX_DETAILS, error_detail
from app.services.keys import DEVELOPER, Actor
from app.services.support.idempotency import IdempotentRequest
from app.services.support.preconditions import VersionPrecondition


async def get_db(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield a session, and commit its transaction before the response is sent."""
    async with service_state(request).uow.begin() as session:
        yield session


# `scope="function"` commits before the response is sent. FastAPI's default would commit later, and
# that commit could fail after the client has received a 201.
DB = Annotated[AsyncSession, Depends(get_db, scope="function")]


async def get_read_db(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield a session for reads, on the replica if one is configured."""
    async with service_state(request).reads.begin() as session:
        yield session


ReadDB = Annotated[AsyncSession, Depends(get_read_db, scope="function")]


_bearer = HTTPBearer(
    auto_error=False,
    description="An API key in `Authorization: Bearer KEY`. The operator of the service creates "
    "keys with `deals keys create`.",
)
_header = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="The same API key in a separate header: `X-API-Key: KEY`.",
)


async def get_actor(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    header: Annotated[str | None, Security(_header)],
) -> Actor:
    """Authenticate a request by its API key. In development the key is optional.

    Raises:
        UnauthorizedError: the key is invalid, or missing in production.
    """
    key = bearer.credentials if bearer else header
    services = service_state(request)
    if key:
        return await services.keys.actor(key)
    if services.writes_are_open:
        return DEVELOPER
    raise UnauthorizedError


async def require_deal_write(actor: Annotated[Actor, Depends(get_actor)]) -> Actor:
    """Require an API key with permission to write deals and hotels.

    Raises:
        ForbiddenError: the key lacks the scope.
    """
    actor.require("deals:write")
    return actor


async def json_body(request: Request) -> None:
    """Require a JSON content type, so that other formats get a 415 instead of a 422.

    Raises:
        UnsupportedMediaTypeError: the content type is not JSON.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError


async def get_if_match_versions(
    if_match: Annotated[
        OptionalParam[str],
        Header(
            description="An `ETag` of the resource. If the resource no longer has this version, "
            "the response is 412.",
            examples=['"1.8e553dacda25a50f"'],
        ),
    ] = None,
) -> VersionPrecondition:
    """Parse `If-Match` into a precondition (RFC 9110, section 13.1.1)."""
    return VersionPrecondition(parse_if_match(if_match))


async def get_idempotent_request(
    request: Request,
    actor: Annotated[Actor, Depends(get_actor)],
    idempotency_key: Annotated[
        OptionalParam[str],
        Header(
            pattern=r"^[!-~]{1,255}$",
            description="A unique value that the client chooses. If the client repeats the request "
            "with the same key and body within 24 hours, it gets the first response again and the "
            "service changes nothing.",
            examples=["5f1c-0001"],
        ),
    ] = None,
) -> IdempotentRequest:
    """Return the body and the optional idempotency key of a request."""
    route = f"{request.method} {request.scope['route'].path}"
    identity = KeyIdentity(route, actor.name, idempotency_key) if idempotency_key else None
    return IdempotentRequest(identity, await request.body())


IdempotentRequestDep = Annotated[IdempotentRequest, Depends(get_idempotent_request)]
IfMatchVersions = Annotated[VersionPrecondition, Depends(get_if_match_versions)]
JSONBody = Depends(json_body)
RequireDealWrite = Depends(require_deal_write)


async def require_import_write(actor: Annotated[Actor, Depends(get_actor)]) -> Actor:
    """Require an API key with permission to import files and read imports.

    Raises:
        ForbiddenError: the key lacks the scope.
    """
    actor.require("imports:write")
    return actor


async def require_import_read(request: Request) -> Actor:
    """Require permission to read imports. Starlette routes, which have no dependencies, call this.

    Raises:
        UnauthorizedError: the key is invalid, or missing in production.
        ForbiddenError: the key lacks the scope.
    """
    return await require_import_write(
        await get_actor(request, await _bearer(request), await _header(request))
    )


RequireImportWrite = Depends(require_import_write)
ImportingActor = Annotated[Actor, RequireImportWrite]


async def reject_query_params(request: Request) -> None:
    """Reject all query parameters, so that the route does not ignore a mistyped one.

    Raises:
        InvalidInputError: the request has query parameters. `details` lists them.
    """
    # A query string such as `?&` has no parameters and is accepted.
    if request.scope["query_string"] and (names := list(request.query_params)):
        problems = [{"loc": ("query", name), "type": "extra_forbidden"} for name in names]
        raise InvalidInputError(details=[error_detail(each) for each in problems[:MAX_DETAILS]])


# Reject parameters with a function: validating an empty pydantic model would cost as much CPU as
# validating one with fields.
NoQueryParameters = Annotated[None, Depends(reject_query_params)]
