from fastapi import APIRouter, Response

from app.dependencies import NoQueryParameters, ReadDB
from app.repositories.health import HealthRepository
from app.routers.responses import LIST_ERRORS, JSONDump
from app.schemas.health import Health
from app.services.health import HealthService

router = APIRouter(tags=["health"])

_dump = JSONDump(Health)


@router.get("/health", response_model=Health, responses=LIST_ERRORS, operation_id="get_health")
async def get_health(_: NoQueryParameters, session: ReadDB) -> Response:
    """`ok` when the database answers, 503 when it does not."""
    return _dump(await HealthService(HealthRepository(session)).check())
