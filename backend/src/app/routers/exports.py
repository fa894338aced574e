from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from app.core.errors import NotAcceptableError, ServiceUnavailableError, TooManyExportsError
from app.http.content_negotiation import MediaType, best_media_type, takes_gzip
from app.http.openapi.errors import NOT_A_BOOLEAN, errors
from app.http.openapi.responses import DISPOSITION, PUBLIC, VARY, success_response
from app.http.state import service_state
from app.http.streaming import StreamedResponse
from app.schemas.deals import DEAL_EXAMPLE, DealFilters, DealResponse
from app.schemas.deals_csv import csv_example
from app.services.exports import ExportFormat

router = APIRouter(prefix="/deals", tags=["deals"])

_CSV = MediaType("text/csv", {"charset": "utf-8", "header": "present"})
_NDJSON = MediaType("application/x-ndjson", {"charset": "utf-8"})
_FORMATS: dict[str, ExportFormat] = {_CSV.name: "csv", _NDJSON.name: "ndjson"}

_CONTENT: dict[str, Any] = {
    _CSV.name: {
        "schema": {
            "type": "string",
            "description": "A header and one line for each deal, with the columns of an import",
        },
        "example": csv_example(),
    },
    _NDJSON.name: {
        "schema": {
            "type": "string",
            "description": "One line for each deal, each a `DealResponse` in JSON",
        },
        "example": to_json(DEAL_EXAMPLE).decode() + "\n",
    },
}
_DESCRIPTION = "The deals. The body is incomplete if the connection closes before the last chunk."


@router.get(
    "/export",
    response_model=DealResponse,
    response_class=Response,
    responses={
        200: {
            **success_response(200, DISPOSITION, VARY, description=_DESCRIPTION)[200],
            "content": _CONTENT,
        },
        **errors(NotAcceptableError, NOT_A_BOOLEAN, ServiceUnavailableError, TooManyExportsError),
    },
    operation_id="export_deals",
    summary="Export deals",
    openapi_extra=PUBLIC,
)
async def export_deals(request: Request, query: Annotated[DealFilters, Query()]) -> Response:
    """Stream all deals that match the filters as CSV or NDJSON.

    `Accept` selects the format: `text/csv` (the default) or `application/x-ndjson`. The deals are a
    consistent snapshot, sorted by the exported `id`. `Accept-Encoding: gzip` selects compression.
    """
    accept = ",".join(request.headers.getlist("accept"))
    chosen = best_media_type(accept, [_CSV, _NDJSON])
    if chosen is None:
        raise NotAcceptableError
    form = _FORMATS[chosen.name]
    headers = {
        "Content-Type": chosen.header,
        "Content-Disposition": f'attachment; filename="deals.{form}"',
        "Vary": "Accept, Accept-Encoding",
    }
    services = service_state(request)
    return StreamedResponse(
        partial(services.exports.export, form, query),
        headers,
        gzip=takes_gzip(",".join(request.headers.getlist("accept-encoding"))),
        patience=services.export_stall_timeout,
    )
