from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from app.core.errors import ConflictError, ErrorDetail, InvalidInputError, NotFoundError
from app.http.dependencies import DB, IdempotentRequestDep, JSONBody, RequireDealWrite
from app.http.openapi.errors import CREATE_ERRORS, errors, validation_error
from app.http.openapi.responses import REPLAYED, success_response
from app.http.responses import JSONSerializer, run_idempotently
from app.http.state import service_state
from app.schemas.bulk import BULK_BODY_EXAMPLES, BulkBody, BulkQuery, BulkResults
from app.services.bulk import BulkService

router = APIRouter(prefix="/deals", tags=["deals"])

_dump = JSONSerializer(BulkResults)


@router.post(
    "/bulk",
    response_model=BulkResults,
    responses={
        **success_response(
            200, REPLAYED, description="One result for each item, with an error if the item failed"
        ),
        **errors(
            NotFoundError("The hotel does not exist"),
            ConflictError(
                "Nothing was stored",
                [ErrorDetail("body.1", "Another deal has this external_id")],
            ),
            InvalidInputError(
                "Nothing was stored",
                [ErrorDetail("body.1.price_per_night", "Input should be greater than 0")],
            ),
            validation_error(
                "body", "List should have at most 1000 items after validation, not 1001"
            ),
            *CREATE_ERRORS,
        ),
    },
    dependencies=[RequireDealWrite, JSONBody],
    operation_id="upsert_deals",
    summary="Create or replace many deals",
)
async def upsert_deals(
    request: Request,
    body: Annotated[BulkBody, Body(openapi_examples=BULK_BODY_EXAMPLES)],
    query: Annotated[BulkQuery, Query()],
    once: IdempotentRequestDep,
) -> Response:
    """Create or replace up to 1,000 deals.

    An item replaces the stored deal with the same `external_id`. If no deal has this `external_id`,
    or the item has none, it creates a deal. The response has one result for each item, in the same
    order. If an item fails, the others are still stored, unless `atomic` is set.
    """

    async def upsert(session: DB) -> Response:
        return _dump(await BulkService.on(session).upsert(body, atomic=query.atomic))

    return await run_idempotently(service_state(request).uow, once, upsert)
