"""Application state: the services that live as long as the process."""

from dataclasses import dataclass
from typing import Self

from fastapi import Request

from app.core.config import Settings
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.monitoring import Monitor
from app.repositories.deals.export import ExportRepository
from app.repositories.deals.read import DealReadRepository
from app.repositories.hotels.read import HotelReadRepository
from app.services.backlog import BacklogService
from app.services.deals import DealReadService
from app.services.exports import ExportService
from app.services.health import HealthService
from app.services.hotels import HotelReadService
from app.services.imports import ImportService
from app.services.keys import ApiKeyAuthenticator
from app.services.support.cursors import CursorCodec


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Services that are created once and serve all requests, and settings that routes read.

    `export_stall_timeout` is in seconds.
    """

    uow: UnitOfWork
    reads: UnitOfWork
    keys: ApiKeyAuthenticator
    deals: DealReadService
    hotels: HotelReadService
    exports: ExportService
    imports: ImportService
    health: HealthService
    monitor: Monitor
    limiter: ConcurrencyLimiter
    writes_are_open: bool
    export_stall_timeout: float

    @classmethod
    def on(
        cls,
        database: Database,
        settings: Settings,
        cursors: CursorCodec,
        imports: ImportService,
        limiter: ConcurrencyLimiter,
    ) -> Self:
        """Create services that use the open connection pools of `database`."""
        reader = database.reader
        patience = settings.db_health_timeout
        backlog = BacklogService(database.uow, settings.worker_heartbeat, patience)
        return cls(
            uow=database.uow,
            reads=database.reads,
            keys=ApiKeyAuthenticator(database.uow),
            deals=DealReadService(DealReadRepository(reader), cursors),
            hotels=HotelReadService(HotelReadRepository(reader), cursors),
            exports=ExportService(ExportRepository(database.streams)),
            imports=imports,
            health=HealthService(database, patience),
            monitor=Monitor(database, backlog, limiter),
            limiter=limiter,
            writes_are_open=settings.app_env == "development",
            export_stall_timeout=settings.export_stall_timeout,
        )


def service_state(request: Request) -> ServiceState:
    """Return the state that the application's lifespan has created."""
    state: ServiceState = request.app.state.services
    return state
