from fastapi import APIRouter, Response

from app.http.dependencies import NoQueryParameters, ReadDB
from app.http.openapi.errors import UNKNOWN_PARAMETER, errors
from app.http.openapi.responses import PUBLIC, success_response
from app.http.responses import JSONSerializer
from app.schemas.categories import CategoryResponse
from app.services.categories import CategoryService

router = APIRouter(prefix="/categories", tags=["categories"])

_dump = JSONSerializer(list[CategoryResponse])


@router.get(
    "",
    response_model=list[CategoryResponse],
    responses={
        **success_response(
            200,
            description="All categories",
            example=[
                {"name": "boutique", "deal_count": 498},
                {"name": "luxury", "deal_count": 551},
            ],
        ),
        **errors(UNKNOWN_PARAMETER),
    },
    operation_id="list_categories",
    summary="List categories",
    openapi_extra=PUBLIC,
)
async def list_categories(_: NoQueryParameters, session: ReadDB) -> Response:
    """Return all categories with their deal counts, sorted by name."""
    return _dump(await CategoryService(session).all())
