from fastapi import APIRouter, Response

from app.dependencies import NoQueryParameters, ReadDB
from app.repositories.categories import CategoryRepository
from app.routers.responses import LIST_ERRORS, JSONDump
from app.schemas.categories import CategoryCount
from app.services.categories import CategoryService

router = APIRouter(prefix="/categories", tags=["categories"])

_dump = JSONDump(list[CategoryCount])


@router.get(
    "",
    response_model=list[CategoryCount],
    responses=LIST_ERRORS,
    operation_id="list_categories",
)
async def list_categories(_: NoQueryParameters, session: ReadDB) -> Response:
    """Every category with its number of deals, by name."""
    return _dump(await CategoryService(CategoryRepository(session)).all())
