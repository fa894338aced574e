from fastapi import APIRouter, Response

from app.dependencies import CheckingHealth, NoQueryParameters
from app.routers.direct import DirectRoute
from app.routers.documented import PUBLIC, answer
from app.routers.responses import LIST_ERRORS, JSONDump
from app.schemas.health import Health

router = APIRouter(tags=["health"], route_class=DirectRoute)

_dump = JSONDump(Health)


@router.get(
    "/health",
    response_model=Health,
    responses={**answer(200), **LIST_ERRORS},
    operation_id="get_health",
    openapi_extra=PUBLIC,
)
async def get_health(_: NoQueryParameters, health: CheckingHealth) -> Response:
    """`ok` when the database answers, 503 when it does not."""
    return _dump(await health.check())
