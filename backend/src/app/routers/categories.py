from fastapi import APIRouter, Response

from app.http.dependencies import CategoryReaderDep, NoQueryParameters
from app.http.direct import DirectRoute
from app.http.openapi.errors import UNKNOWN_PARAMETER, errors
from app.http.openapi.responses import PUBLIC, success_response
from app.http.responses import JSONSerializer
from app.schemas.categories import CategoryResponse

router = APIRouter(prefix="/categories", tags=["categories"], route_class=DirectRoute)

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
async def list_categories(_: NoQueryParameters, categories: CategoryReaderDep) -> Response:
    """Every category with its number of deals, by name."""
    return _dump(await categories.all())
