"""Composition root of the HTTP application: wires settings, services, routes and middleware."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.core.config import Settings, is_traced, load_settings
from app.core.signing import signing_key
from app.db.notifications import Listener
from app.db.provisioning import provision_database_async
from app.db.session import Database
from app.http import exception_handlers
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.cors import allow_origins
from app.http.early_responses import EarlyResponseMiddleware
from app.http.graceful_shutdown import ShutdownHooks, on_server_stop
from app.http.load_shedding import LoadSheddingMiddleware
from app.http.middleware import BodyLimit, RequestMiddleware, security_headers
from app.http.monitoring import metrics_served
from app.http.openapi.document import DocumentedAPI
from app.http.plain_route import plain_route
from app.http.state import ServiceState, service_state
from app.observability.logging import configure_logging
from app.repositories.imports.write import CHANNEL
from app.routers import bulk, categories, deals, exports, health, hotels, imports
from app.services.imports import ImportService
from app.services.support.cursors import CursorCodec
from app.storage.uploads import UploadStore, upload_store
from app.web.routes import routes as web_routes

logger = logging.getLogger(__name__)

# Starlette tries routes in this order, so the routers with the most traffic come first.
_ROUTERS = (deals, hotels, bulk, exports, categories, imports, health)


def create_app(settings: Settings) -> FastAPI:
    """Create the application. Its lifespan opens and closes the connection pools.

    Raises:
        ConfigurationError: the signing key is missing, or the settings of the upload store are
            invalid.
    """
    limiter = ConcurrencyLimiter(settings.max_requests_in_progress, settings.metrics_path)
    cursors = CursorCodec(signing_key(settings))
    app = DocumentedAPI(
        lifespan=_lifespan(settings, upload_store(settings), cursors, limiter),
        redirect_slashes=False,
        # FastAPI exports a span for each request if OTEL_EXPORTER_OTLP_ENDPOINT is set.
        telemetry={"tracing": is_traced(), "metrics": False, "logs": False, "auto_configure": True},
    )
    for module in _ROUTERS:
        app.include_router(module.router)
    app.router.routes.extend([*web_routes, *_metrics_routes(settings)])
    arrival = settings.request_arrival_timeout
    # Each middleware wraps those that are added before it.
    app.add_middleware(
        RequestMiddleware,
        body=BodyLimit(settings.max_body_bytes, arrival),
        larger_bodies={
            "/imports": BodyLimit(settings.max_upload_bytes, arrival, for_each_piece=True)
        },
        server_timing=settings.app_env == "development",
        hsts_seconds=settings.hsts_seconds,
    )
    if settings.forwarded_allow_ips:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.forwarded_allow_ips))
    app.add_middleware(
        LoadSheddingMiddleware,
        limiter=limiter,
        headers=security_headers(settings.hsts_seconds),
    )
    if settings.cors_origins:
        # Add CORS headers to the errors of all middleware above, so that web pages can read them.
        allow_origins(app, settings.cors_origins)
    app.add_middleware(EarlyResponseMiddleware)
    exception_handlers.install(app)
    return app


def _metrics_routes(settings: Settings) -> list[Route]:
    beside_the_api = settings.metrics_path and settings.metrics_port is None
    return [plain_route(settings.metrics_path, _metrics)] if beside_the_api else []


async def _metrics(request: Request) -> Response:
    return await service_state(request).monitor.respond(request)


def _lifespan(
    settings: Settings, uploads: UploadStore, cursors: CursorCodec, limiter: ConcurrencyLimiter
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan that opens and closes the database, services and metrics server."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            urls = await stack.enter_async_context(provision_database_async(settings))
            database = await stack.enter_async_context(Database(urls, settings))
            listener = Listener(urls.direct, CHANNEL)
            stack.push_async_callback(listener.aclose)
            imports_service = ImportService(database.uow, uploads, cursors, listener)
            state = ServiceState.on(database, settings, cursors, imports_service, limiter)
            app.state.services = state
            await stack.enter_async_context(state.monitor.watching())
            if settings.metrics_port is not None:
                served = metrics_served(state.monitor, settings.metrics_host, settings.metrics_port)
                await stack.enter_async_context(served)
            if state.writes_are_open:
                logger.warning("writes are open to everybody: APP_ENV is development")
            with on_server_stop(
                ShutdownHooks(begin=limiter.drain, end=listener.close, delay=settings.drain_delay)
            ):
                yield

    return lifespan


def app_from_environment() -> FastAPI:
    """Create the application with settings from the environment.

    Called by server processes, which import this factory by name.
    """
    settings = load_settings()
    configure_logging(settings)
    return create_app(settings)
