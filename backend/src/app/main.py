"""The HTTP application: the only place where its parts are wired together."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import error_handlers
from app.config import Settings, load_settings
from app.db.provision import provisioned_async
from app.db.session import Database
from app.logging import configure_logging
from app.middleware import RequestMiddleware
from app.routers import bulk, categories, deals, health, hotels
from app.services.cursors import CursorCodec
from app.services.health import HealthService
from app.services.keys import KeyRing
from app.signing import signing_key

logger = logging.getLogger(__name__)

DESCRIPTION = """
Hotel deals: rooms of a given type, for given nights, at a discount. Deals belong to hotels and
carry categories. Lists come in pages; errors come in one envelope.
"""


def create_app(settings: Settings) -> FastAPI:
    """The service with these settings; its pools open and close with the application.

    Raises:
        ConfigurationError: there is no key to sign with.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with provisioned_async(settings) as urls:
            database = Database(urls, settings)
            app.state.database = database
            app.state.keys = KeyRing(database)
            app.state.health = HealthService(database)
            if app.state.writes_are_open:
                logger.warning("writes are open to everybody: APP_ENV is development")
            try:
                yield
            finally:
                await database.dispose()

    app = FastAPI(
        title="Hotel deals",
        description=DESCRIPTION,
        version="0.1.0",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.writes_are_open = settings.app_env == "development"
    app.state.cursors = CursorCodec(signing_key(settings))
    app.add_middleware(RequestMiddleware, max_body_bytes=settings.max_body_bytes)
    error_handlers.install(app)
    for module in (health, bulk, deals, hotels, categories):
        app.include_router(module.router)
    return app


def app_from_environment() -> FastAPI:
    """For servers that import an application factory by name."""
    settings = load_settings()
    configure_logging(settings)
    return create_app(settings)
