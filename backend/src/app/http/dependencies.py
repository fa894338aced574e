"""What routes ask for by type."""

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
    """Yield a session; its work is committed after the route and before the response."""
    async with service_state(request).uow.begin() as session:
        yield session


# scope="function" is what puts the commit before the response: by default FastAPI leaves such a
# block after it, and a commit that fails would follow a 201 that is already on its way.
DB = Annotated[AsyncSession, Depends(get_db, scope="function")]


_bearer = HTTPBearer(
    auto_error=False,
    description="An API key, as the operator of the service made it (`deals keys create`), in "
    "`Authorization: Bearer KEY`",
)
_header = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="The same key in a header of its own, `X-API-Key: KEY`",
)


async def get_actor(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    header: Annotated[str | None, Security(_header)],
) -> Actor:
    """Who is asking, by the key of the request; in development nobody needs one.

    Raises:
        UnauthorizedError: the key is wrong, or missing in production.
    """
    key = bearer.credentials if bearer else header
    services = service_state(request)
    if key:
        return await services.keys.actor(key)
    if services.writes_are_open:
        return DEVELOPER
    raise UnauthorizedError


async def require_deal_write(actor: Annotated[Actor, Depends(get_actor)]) -> Actor:
    """An actor that may write deals and hotels.

    Raises:
        ForbiddenError: this one may not.
    """
    actor.require("deals:write")
    return actor


async def json_body(request: Request) -> None:
    """Refuse a body in another format; read as JSON it would only be called invalid.

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
            description="An `ETag`: change it only if it is still in that version",
            examples=['"1.8e553dacda25a50f"'],
        ),
    ] = None,
) -> VersionPrecondition:
    """The versions of `If-Match` (RFC 9110, section 13.1.1)."""
    return VersionPrecondition(parse_if_match(if_match))


async def get_idempotent_request(
    request: Request,
    actor: Annotated[Actor, Depends(get_actor)],
    idempotency_key: Annotated[
        OptionalParam[str],
        Header(
            pattern=r"^[!-~]{1,255}$",
            description="Chosen by the client: sent again with the same body within 24 hours, the "
            "first response is returned and nothing is done twice",
            examples=["5f1c-0001"],
        ),
    ] = None,
) -> IdempotentRequest:
    """Return this request as one that may come again."""
    route = f"{request.method} {request.scope['route'].path}"
    identity = KeyIdentity(route, actor.name, idempotency_key) if idempotency_key else None
    return IdempotentRequest(identity, await request.body())


IdempotentRequestDep = Annotated[IdempotentRequest, Depends(get_idempotent_request)]
IfMatchVersions = Annotated[VersionPrecondition, Depends(get_if_match_versions)]
JSONBody = Depends(json_body)
RequireDealWrite = Depends(require_deal_write)


async def require_import_write(actor: Annotated[Actor, Depends(get_actor)]) -> Actor:
    """An actor that may import files, and see what was imported.

    Raises:
        ForbiddenError: this one may not.
    """
    actor.require("imports:write")
    return actor


async def require_import_read(request: Request) -> Actor:
    """The same for pages, which are no routes of FastAPI's.

    Raises:
        UnauthorizedError: the key is wrong, or missing in production.
        ForbiddenError: this one may not.
    """
    return await require_import_write(
        await get_actor(request, await _bearer(request), await _header(request))
    )


RequireImportWrite = Depends(require_import_write)
ImportingActor = Annotated[Actor, RequireImportWrite]


async def reject_query_params(request: Request) -> None:
    """For routes without query parameters: a mistyped one is refused, not ignored.

    Raises:
        InvalidInputError: there is one; each is named.
    """
    # `?` and `?&` are no parameters.
    if request.scope["query_string"] and (names := list(request.query_params)):
        problems = [{"loc": ("query", name), "type": "extra_forbidden"} for name in names]
        raise InvalidInputError(details=[error_detail(each) for each in problems[:MAX_DETAILS]])


# By hand and not as an empty model, which would cost each request what a model with fields does.
NoQueryParameters = Annotated[None, Depends(reject_query_params)]
