from fastapi import APIRouter, Request, Response

from app.http.dependencies import NoQueryParameters
from app.http.openapi.errors import UNKNOWN_PARAMETER, errors
from app.http.openapi.responses import PUBLIC, success_response
from app.http.responses import JSONSerializer
from app.http.state import service_state
from app.schemas.categories import CategoryResponse

router = APIRouter(prefix="/categories", tags=["categories"])

_dump = JSONSerializer(list[CategoryResponse])


@router.get(
    "",
    response_model=list[CategoryResponse],
    responses={
        **success_response(
            200,
            description="All of them",
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
async def list_categories(request: Request, _: NoQueryParameters) -> Response:
    """Every category with its number of deals, by name."""
    return _dump(await service_state(request).categories.all())
