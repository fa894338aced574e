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
        **success_response(200, description="The database is available", example={"status": "ok"}),
        **errors(UNKNOWN_PARAMETER),
    },
    operation_id="get_health",
    summary="Check the service",
    openapi_extra=PUBLIC,
)
async def get_health(request: Request, _: NoQueryParameters) -> Response:
    """Check that the primary and any replica answer. If one does not, the response is 503."""
    return _dump(await service_state(request).health.check())


@router.get(
    "/health/live",
    response_model=HealthResponse,
    responses={
        **success_response(200, description="The process is alive", example={"status": "ok"}),
        **errors(UNKNOWN_PARAMETER),
    },
    operation_id="get_liveness",
    summary="Check the process",
    openapi_extra=PUBLIC,
)
async def get_liveness(_: NoQueryParameters) -> Response:
    """Return `ok` without a database query. A process that does not answer needs a restart."""
    return _dump({"status": "ok"})


@router.get(
    "/health/ready",
    response_model=HealthResponse,
    responses={
        **success_response(
            200, description="The process is ready for requests", example={"status": "ok"}
        ),
        **errors(UNKNOWN_PARAMETER, STOPPING),
    },
    operation_id="get_readiness",
    summary="Check whether the process is ready for requests",
    openapi_extra=PUBLIC,
)
async def get_readiness(request: Request, _: NoQueryParameters) -> Response:
    """Check that the database answers, its schema matches the code, and no shutdown has begun.

    If the process is not ready, the response is a 503 with the reason. A load balancer should send
    requests only to ready processes.
    """
    services = service_state(request)
    if services.limiter.draining:
        raise ServiceUnavailableError(STOPPING.message)
    return _dump(await services.health.ready())
