from fastapi import APIRouter, Request, Response

from app.core.errors import ServiceUnavailableError
from app.http.dependencies import HealthServiceDep, NoQueryParameters
from app.http.direct import DirectRoute
from app.http.openapi.errors import UNKNOWN_PARAMETER, errors
from app.http.openapi.responses import PUBLIC, success_response
from app.http.responses import JSONSerializer
from app.schemas.health import HealthResponse

router = APIRouter(tags=["health"], route_class=DirectRoute)

_dump = JSONSerializer(HealthResponse)
STOPPING = ServiceUnavailableError("The service is about to stop")


@router.get(
    "/health",
    response_model=HealthResponse,
    responses={
        **success_response(200, description="The database answered", example={"status": "ok"}),
        **errors(UNKNOWN_PARAMETER),
    },
    operation_id="get_health",
    summary="Check the service",
    openapi_extra=PUBLIC,
)
async def get_health(_: NoQueryParameters, health: HealthServiceDep) -> Response:
    """`ok` when the database answers, 503 when it does not."""
    return _dump(await health.check())


@router.get(
    "/health/live",
    response_model=HealthResponse,
    responses={
        **success_response(200, description="The process answers", example={"status": "ok"}),
        **errors(UNKNOWN_PARAMETER),
    },
    operation_id="get_liveness",
    summary="Check the process",
    openapi_extra=PUBLIC,
)
async def get_liveness(_: NoQueryParameters) -> Response:
    """`ok` while the process answers, whatever the database does; restart it when it does not."""
    return _dump({"status": "ok"})


@router.get(
    "/health/ready",
    response_model=HealthResponse,
    responses={
        **success_response(200, description="Requests are welcome", example={"status": "ok"}),
        **errors(UNKNOWN_PARAMETER, STOPPING),
    },
    operation_id="get_readiness",
    summary="Check whether requests are welcome",
    openapi_extra=PUBLIC,
)
async def get_readiness(
    request: Request, _: NoQueryParameters, health: HealthServiceDep
) -> Response:
    """`ok` when requests are welcome: the database answers, its schema is this code's, no stop.

    503 says why not, and a proxy sends requests elsewhere.
    """
    if request.app.state.limiter.draining:
        raise ServiceUnavailableError(STOPPING.message)
    return _dump(await health.ready())
