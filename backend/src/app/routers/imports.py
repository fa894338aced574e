from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse

from app.dependencies import Importing, ImportingActor, ImportWriter, NoQueryParameters
from app.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    StorageFullError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from app.routers.documented import DISPOSITION, LINK, LOCATION, VARY, answer
from app.routers.negotiation import takes_gzip
from app.routers.responses import REMOVE_ERRORS, JSONDump, errors, page_links
from app.routers.streaming import StreamedResponse, Write
from app.routers.uploads import FORM_TYPE, RAW_TYPES, Uploaded
from app.schemas.common import Id
from app.schemas.imports import Import, ImportOptions, ImportPage, ImportQuery
from app.services.imports import Upload

router = APIRouter(prefix="/imports", tags=["imports"])

_dump = JSONDump(Import)
_dump_page = JSONDump(ImportPage)

_GUARDED = (UnauthorizedError, ForbiddenError)
_LIST_ERRORS = errors(*_GUARDED)
_ITEM_ERRORS = errors(*_GUARDED, NotFoundError)
_UPLOAD_ERRORS = errors(
    *_GUARDED,
    NotFoundError,
    ConflictError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
    StorageFullError,
)

_FILE = {"type": "string", "format": "binary", "minLength": 1}
_FORM = {
    "type": "object",
    "properties": {"file": _FILE},
    "required": ["file"],
    "additionalProperties": False,
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A deals.csv, plain or compressed by gzip",
        "content": {
            **{kind: {"schema": _FILE} for kind in RAW_TYPES},
            FORM_TYPE: {"schema": _FORM},
        },
    }
}
_ImportId = Annotated[Id, Path()]


@router.post(
    "",
    status_code=202,
    response_model=Import,
    responses={
        **answer(202, LOCATION),
        200: {
            "model": Import,
            "description": "The same bytes were sent before",
            **answer(200)[200],
        },
        **_UPLOAD_ERRORS,
    },
    operation_id="create_import",
    openapi_extra=_BODY,
)
async def create_import(
    actor: ImportingActor,
    file: Uploaded,
    options: Annotated[ImportOptions, Query()],
    imports: Importing,
) -> Response:
    """Upload a file of deals, to be loaded in the background; `Location` says how it goes.

    The same bytes again are the same import: 200, and nothing is loaded, unless the earlier one has
    failed or `force` says so.
    """
    upload = Upload(file.content, file.name, actor.name)
    found, is_new = await imports.submit(upload, options)
    response = _dump(found, {"Location": found["links"]["self"]} if is_new else None)
    response.status_code = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    return response


@router.get(
    "",
    response_model=ImportPage,
    responses={**answer(200, LINK), **_LIST_ERRORS},
    dependencies=[ImportWriter],
    operation_id="list_imports",
)
async def list_imports(
    request: Request, query: Annotated[ImportQuery, Query()], imports: Importing
) -> Response:
    """A page of imports, the latest first."""
    page = await imports.page(query)
    link = page_links(
        request, skip=page["skip"], got=len(page["items"]), next_cursor=page["next_cursor"]
    )
    return _dump_page(page, {"Link": link})


@router.get(
    "/{import_id}",
    response_model=Import,
    responses={**answer(200), **_ITEM_ERRORS},
    dependencies=[ImportWriter],
    operation_id="get_import",
)
async def get_import(import_id: _ImportId, _: NoQueryParameters, imports: Importing) -> Response:
    """How an import goes, or has gone."""
    return _dump(await imports.get(import_id))


@router.delete(
    "/{import_id}",
    response_model=Import,
    responses={**answer(200), **REMOVE_ERRORS},
    dependencies=[ImportWriter],
    operation_id="cancel_import",
)
async def cancel_import(import_id: _ImportId, _: NoQueryParameters, imports: Importing) -> Response:
    """Cancel an import that has not ended; what is stored by now stays, and is counted."""
    return _dump(await imports.cancel(import_id))


@router.get(
    "/{import_id}/rejects",
    response_model=str,
    response_class=Response,
    responses={
        200: {
            **answer(200, DISPOSITION, VARY)[200],
            "content": {"text/csv": {"schema": {"type": "string"}}},
            "description": "The rejected rows as they came, with line, column, code and message",
        },
        **_ITEM_ERRORS,
    },
    dependencies=[ImportWriter],
    operation_id="get_import_rejects",
)
async def get_import_rejects(
    request: Request, import_id: _ImportId, _: NoQueryParameters, imports: Importing
) -> Response:
    """The rows that were rejected so far, to be mended and uploaded again."""
    rejects = await imports.rejects(import_id)

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
        patience=request.app.state.export_stall_timeout,
    )


async def _changes(import_id: _ImportId, imports: Importing) -> AsyncIterator[Import]:
    """Look before the response begins: an unknown import is a 404, not a stream that breaks off."""
    await imports.get(import_id)
    return imports.changes(import_id)


@router.get(
    "/{import_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {**answer(200)[200], "description": "Each event is the whole `Import`, changed"},
        **_ITEM_ERRORS,
    },
    dependencies=[ImportWriter],
    operation_id="watch_import",
)
async def watch_import(
    _: NoQueryParameters,
    changes: Annotated[AsyncIterator[Import], Depends(_changes)],
) -> AsyncIterator[Import]:
    """How an import goes, as Server-Sent Events until it has ended."""
    async for each in changes:
        yield each
