from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic_core import to_json

from app.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    ServiceUnavailableError,
    StorageFullError,
    StorageUnavailableError,
    TransactionConflictError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from app.http.content_negotiation import takes_gzip
from app.http.dependencies import ImportingActor, NoQueryParameters, RequireImportWrite
from app.http.openapi.errors import (
    LIMIT_TOO_LARGE,
    UNKNOWN_PARAMETER,
    WRONG_CURSOR,
    errors,
    not_an_id,
)
from app.http.openapi.responses import (
    DISPOSITION,
    LINK,
    VARY,
    links_to_import,
    location,
    success_response,
)
from app.http.responses import JSONSerializer, page_links
from app.http.state import service_state
from app.http.streaming import StreamedResponse, Write
from app.http.uploads import FORM_TYPE, RAW_TYPES, Uploaded
from app.schemas.common import Id, PaginatedResponse, page_example
from app.schemas.deals_csv import csv_example
from app.schemas.imports import (
    ENDED_EXAMPLE,
    IMPORT_EXAMPLE,
    ImportOptions,
    ImportQuery,
    ImportResponse,
)
from app.services.imports import Upload

router = APIRouter(prefix="/imports", tags=["imports"])

_dump = JSONSerializer(ImportResponse)
_dump_page = JSONSerializer(PaginatedResponse[ImportResponse])

_GUARDED = (UnauthorizedError, ForbiddenError("The key lacks the scope imports:write"))
_NOT_THERE = (NotFoundError("Import 4711 does not exist"), not_an_id("import_id"))
_ITEM_ERRORS = errors(*_GUARDED, *_NOT_THERE)
_UPLOAD_ERRORS = errors(
    *_GUARDED,
    TransactionConflictError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError(
        "The Content-Encoding of a file must be gzip or identity, or be left out"
    ),
    InvalidInputError("The file is empty"),
    InvalidInputError("The form may have one part only, named 'file'"),
    ServiceUnavailableError,
    StorageUnavailableError,
    StorageFullError,
)

_FILE = {"type": "string", "format": "binary", "minLength": 1}
_FORM = {
    "type": "object",
    "properties": {"file": _FILE},
    "required": ["file"],
    "additionalProperties": False,
}
# The service treats all `RAW_TYPES` alike. The OpenAPI document lists only
# `application/octet-stream`, because generated clients cannot send the others.
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A CSV file of deals, plain or gzip-compressed, as the body or as the part "
        f"`file` of a form. Other accepted media types are {', '.join(RAW_TYPES[:-1])}.",
        "content": {
            FORM_TYPE: {"schema": _FORM},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
_REJECTS = csv_example(
    id="70002",
    price_per_night="free",
    categories="luxury",
    line="3",
    column="price_per_night",
    code="not_a_decimal",
    message="must be a decimal number",
)
_EVENT = f"data: {to_json(IMPORT_EXAMPLE).decode()}\n\n"
_ImportId = Annotated[Id, Path(description="The import's `id`", examples=[1])]


@router.get(
    "",
    response_model=PaginatedResponse[ImportResponse],
    responses={
        **success_response(
            200,
            LINK,
            description="A page of imports, the latest first",
            example=page_example(ENDED_EXAMPLE),
        ),
        **errors(*_GUARDED, LIMIT_TOO_LARGE, WRONG_CURSOR, UNKNOWN_PARAMETER),
    },
    dependencies=[RequireImportWrite],
    operation_id="list_imports",
    summary="List imports",
)
async def list_imports(request: Request, query: Annotated[ImportQuery, Query()]) -> Response:
    """Return a page of imports, the latest first."""
    page = await service_state(request).imports.page(query)
    return _dump_page(page, page_links(request, page))


@router.post(
    "",
    status_code=202,
    response_model=ImportResponse,
    responses={
        **success_response(
            202,
            location("imports"),
            description="The service has stored the file and queued the import",
            links=links_to_import(),
            example=IMPORT_EXAMPLE,
        ),
        200: {
            "model": ImportResponse,
            **success_response(
                200,
                description="The existing import of a file with the same bytes",
                links=links_to_import(),
            )[200],
        },
        **_UPLOAD_ERRORS,
    },
    operation_id="create_import",
    summary="Upload a file",
    openapi_extra=_BODY,
)
async def create_import(
    request: Request,
    actor: ImportingActor,
    file: Uploaded,
    options: Annotated[ImportOptions, Query()],
) -> Response:
    """Upload a CSV file of deals. A background worker loads it.

    The `Location` header contains the path of the import. If an import of the same bytes with the
    same `strict` is queued, running or succeeded, the response is 200 with that import, and nothing
    is loaded again. With `force` or `dry_run` the service always creates a new import.
    """
    upload = Upload(file.content, file.name, actor.name)
    found, is_new = await service_state(request).imports.submit(upload, options)
    response = _dump(found, {"Location": found["links"]["self"]} if is_new else None)
    response.status_code = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    return response


@router.get(
    "/{import_id}",
    response_model=ImportResponse,
    responses={
        **success_response(200, description="The import", links=links_to_import()),
        **_ITEM_ERRORS,
    },
    dependencies=[RequireImportWrite],
    operation_id="get_import",
    summary="Read an import",
)
async def get_import(request: Request, import_id: _ImportId, _: NoQueryParameters) -> Response:
    """Return the state and the counters of an import."""
    return _dump(await service_state(request).imports.get(import_id))


@router.delete(
    "/{import_id}",
    response_model=ImportResponse,
    responses={
        **success_response(
            200,
            description="The cancelled import",
            example={**IMPORT_EXAMPLE, "state": "cancelled", "finished_at": "2026-11-21T11:35:03Z"},
        ),
        **errors(
            *_GUARDED,
            *_NOT_THERE,
            ConflictError("Import 1 has already succeeded"),
            PayloadTooLargeError,
        ),
    },
    dependencies=[RequireImportWrite],
    operation_id="cancel_import",
    summary="Cancel an import",
)
async def cancel_import(request: Request, import_id: _ImportId, _: NoQueryParameters) -> Response:
    """Cancel an import that has not ended. Stored rows are kept and stay in the counters."""
    return _dump(await service_state(request).imports.cancel(import_id))


@router.get(
    "/{import_id}/rejects",
    response_model=str,
    response_class=Response,
    responses={
        200: {
            **success_response(
                200,
                *(DISPOSITION, VARY),
                description="The rejected rows with the error's line, column, code and message",
            )[200],
            "content": {"text/csv": {"schema": {"type": "string"}, "example": _REJECTS}},
        },
        **errors(
            *_GUARDED,
            *_NOT_THERE,
            NotFoundError("The rejected rows of import 1 have expired and are deleted"),
        ),
    },
    dependencies=[RequireImportWrite],
    operation_id="get_import_rejects",
    summary="Download rejected rows",
)
async def get_import_rejects(
    request: Request, import_id: _ImportId, _: NoQueryParameters
) -> Response:
    """Return the rows rejected so far. A client can correct them and upload them again."""
    services = service_state(request)
    rejects = await services.imports.rejects(import_id)

    async def produce(write: Write) -> None:
        async for piece in rejects:
            await write(piece)

    headers = {
        "Content-Type": "text/csv; charset=utf-8; header=present",
        "Content-Disposition": f'attachment; filename="import-{import_id}-rejects.csv"',
        "Vary": "Accept-Encoding",
    }
    return StreamedResponse(
        produce,
        headers,
        gzip=takes_gzip(",".join(request.headers.getlist("accept-encoding"))),
        patience=services.export_stall_timeout,
    )


async def _changes(request: Request, import_id: _ImportId) -> AsyncIterator[ImportResponse]:
    """Check that an import exists, and return an iterator over its states."""
    imports = service_state(request).imports
    await imports.get(import_id)
    return imports.changes(import_id)


@router.get(
    "/{import_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {
            **success_response(
                200, description="Server-Sent Events with an `ImportResponse` as `data`"
            )[200],
            "content": {"text/event-stream": {"example": _EVENT}},
        },
        **_ITEM_ERRORS,
    },
    dependencies=[RequireImportWrite],
    operation_id="watch_import",
    summary="Watch an import",
)
async def watch_import(
    _: NoQueryParameters,
    changes: Annotated[AsyncIterator[ImportResponse], Depends(_changes)],
) -> AsyncIterator[ImportResponse]:
    """Stream the state of an import as Server-Sent Events until the import has ended."""
    async for each in changes:
        yield each
