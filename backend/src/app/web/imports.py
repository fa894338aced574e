"""The pages of imports: their progress and their rejected rows."""

import re

from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import (
    AppError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
)
from app.http.dependencies import require_import_read
from app.http.state import service_state
from app.schemas.common import BIGINT_END, PaginatedResponse
from app.schemas.imports import FINAL_STATES, ImportQuery, ImportResponse
from app.web.html import html_page, page
from app.web.queries import ParsedQuery, parse_and_query

PATH = "/dashboard/imports"

# Maximum number of imports that a page follows live. Each of these imports needs a connection, and
# browsers limit the connections to a host.
_WATCHED = 3
_REJECTS_SHOWN = 50
# Maximum number of characters to show of a rejected field, which can have any length.
_MAX_TEXT = 200


@html_page
async def imports(request: Request) -> Response:
    """Return the page of the latest imports, or a form for the API key if access is denied."""
    refusal = await _refusal(request)
    if refusal is not None:
        return _locked(request, refusal)
    service = service_state(request).imports
    asked, found = await parse_and_query(
        ParsedQuery.of(ImportQuery, request.query_params), service.page
    )
    items = found["items"] if found else []
    active = [each["id"] for each in reversed(items) if each["state"] not in FINAL_STATES]
    context = {
        "section": "imports",
        "asked": asked,
        "found": found,
        "watched": frozenset(active[:_WATCHED]),
        "next": _next(asked, found),
        "path": PATH,
    }
    return page(request, "imports.html", context, status=200 if found else InvalidInputError.status)


@html_page
async def one_import(request: Request) -> Response:
    """Return the page of an import with its counters and its first rejected rows."""
    refusal = await _refusal(request)
    if refusal is not None:
        return _locked(request, refusal)
    import_id = _import_id(request.path_params["import_id"])
    service = service_state(request).imports
    found = await service.get(import_id)
    rejects = await _rejects(request, found) if found["links"]["rejects"] else []
    context = {
        "section": "imports",
        "each": found,
        "watched": frozenset({import_id} if found["state"] not in FINAL_STATES else ()),
        "columns": rejects[0] if rejects else [],
        "rejects": rejects[1:],
        "path": PATH,
    }
    return page(request, "import.html", context)


def _import_id(text: str) -> int:
    """Parse the id of an import.

    Starlette's `int` convertor would raise an unhandled error for thousands of digits.

    Raises:
        NotFoundError: the text is not a possible id.
    """
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) or int(text) >= BIGINT_END:
        raise NotFoundError("The import does not exist")
    return int(text)


async def _refusal(request: Request) -> AppError | None:
    """Return None if the client may read imports, and the error if access is denied."""
    try:
        await require_import_read(request)
    except (UnauthorizedError, ForbiddenError) as refusal:
        return refusal
    return None


def _locked(request: Request, refusal: AppError) -> Response:
    """Return a form for the API key. Its status is 200, because the form is public."""
    presented = not {"authorization", "x-api-key"}.isdisjoint(request.headers)
    message = refusal.message if presented else None
    return page(request, "locked.html", {"section": "imports", "message": message, "path": PATH})


def _next(
    asked: ParsedQuery[ImportQuery], found: PaginatedResponse[ImportResponse] | None
) -> str | None:
    if found is None or found["next_cursor"] is None:
        return None
    return asked.address(PATH, cursor=found["next_cursor"])


async def _rejects(request: Request, found: ImportResponse) -> list[list[str]]:
    """Return the header and the first rejected rows, with long fields shortened."""
    rows = await service_state(request).imports.first_rejects(found["id"], _REJECTS_SHOWN)
    return [[_short(text) for text in row] for row in rows]


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
