from fastapi import APIRouter, Request, Response

from app.core.errors import ServiceUnavailableError
from app.http.dependencies import NoQueryParameters
from app.http.openapi.errors import UNKNOWN_PARAMETER, errors
from app.http.openapi.responses import PUBLIC, success_response
from app.http.responses import JSONSerializer
from app.http.state import service_state
from app.schemas.health import HealthResponse

router = APIRouter(tags=["health"])

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
async def get_health(request: Request, _: NoQueryParameters) -> Response:
    """`ok` when the database answers, 503 when it does not."""
    return _dump(await service_state(request).health.check())


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
async def get_readiness(request: Request, _: NoQueryParameters) -> Response:
    """`ok` when requests are welcome: the database answers, its schema is this code's, no stop.

    503 says why not, and a proxy sends requests elsewhere.
    """
    services = service_state(request)
    if services.limiter.draining:
        raise ServiceUnavailableError(STOPPING.message)
    return _dump(await services.health.ready())
