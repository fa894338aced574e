"""The HTTP application: the only place where its parts are wired together."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from app import error_handlers
from app.config import Settings, load_settings
from app.db.notifications import Listener
from app.db.provision import provisioned_async
from app.db.session import Database
from app.draining import on_server_stop
from app.logging import configure_logging
from app.middleware import RequestMiddleware
from app.repositories.import_store import CHANNEL
from app.routers import bulk, categories, deals, exports, health, hotels, imports
from app.services.cursors import CursorCodec
from app.services.health import HealthService
from app.services.imports import ImportService
from app.services.keys import KeyRing
from app.signing import signing_key
from app.storage.uploads import upload_store
from app.web.routes import routes as web_routes

logger = logging.getLogger(__name__)

DESCRIPTION = """
Hotel deals: rooms of a given type, for given nights, at a discount. Deals belong to hotels and
carry categories. Lists come in pages; errors come in one envelope.
"""


class _Service(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, corrected.

        Whole numbers are such: FastAPI's 9.223372036854776e+18 is not 2**63. Errors are JSON, also
        those of a route whose own response is something else.
        """
        if self.openapi_schema is None:
            self.openapi_schema = _whole(super().openapi())
            _errors_are_json(self.openapi_schema)
        return self.openapi_schema


def _errors_are_json(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= HTTPStatus.BAD_REQUEST:
                    [content] = response["content"].values()
                    response["content"] = {"application/json": content}


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_ROUTERS = (health, bulk, exports, deals, hotels, categories, imports)


def create_app(settings: Settings) -> FastAPI:
    """The service with these settings; its pools open and close with the application.

    Raises:
        ConfigurationError: there is no key to sign with, or uploads cannot be stored as set.
    """
    uploads = upload_store(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with provisioned_async(settings) as urls:
            database = Database(urls, settings)
            app.state.database = database
            app.state.keys = KeyRing(database)
            app.state.health = HealthService(database)
            listener = Listener(database.write_engine, CHANNEL)
            app.state.imports = ImportService(database, uploads, app.state.cursors, listener)
            if app.state.writes_are_open:
                logger.warning("writes are open to everybody: APP_ENV is development")
            try:
                with on_server_stop(listener.close):
                    yield
            finally:
                await listener.aclose()
                await database.dispose()

    app = _Service(
        title="Hotel deals",
        description=DESCRIPTION,
        version="0.1.0",
        lifespan=lifespan,
        redirect_slashes=False,
        # As they are, not by include_router: those are looked for twice for each request.
        routes=[*(route for module in _ROUTERS for route in module.router.routes), *web_routes],
    )
    app.state.writes_are_open = settings.app_env == "development"
    app.state.export_stall_timeout = settings.export_stall_timeout
    app.state.cursors = CursorCodec(signing_key(settings))
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=settings.max_body_bytes,
        larger_bodies={"/imports": settings.max_upload_bytes},
        server_timing=settings.app_env == "development",
    )
    error_handlers.install(app)
    return app


def app_from_environment() -> FastAPI:
    """For servers that import an application factory by name."""
    settings = load_settings()
    configure_logging(settings)
    return create_app(settings)
