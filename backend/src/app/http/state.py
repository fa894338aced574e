"""State of the application: the pools and the services that live as long as it does."""

from dataclasses import dataclass
from typing import Self

from fastapi import Request

from app.db.notifications import Listener
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.repositories.categories import CategoryRepository
from app.repositories.deals.export import ExportRepository
from app.repositories.deals.read import DealReadRepository
from app.repositories.hotels.read import HotelReadRepository
from app.services.categories import CategoryService
from app.services.deals import DealReadService
from app.services.exports import ExportService
from app.services.health import HealthService
from app.services.hotels import HotelReadService
from app.services.imports import ImportService
from app.services.keys import ApiKeyAuthenticator
from app.services.support.cursors import CursorCodec
from app.storage.uploads import UploadStore


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The pools, and the services that need no transaction of a request; each is made once."""

    uow: UnitOfWork
    keys: ApiKeyAuthenticator
    deals: DealReadService
    hotels: HotelReadService
    categories: CategoryService
    exports: ExportService
    imports: ImportService
    health: HealthService

    @classmethod
    def on(
        cls,
        database: Database,
        uploads: UploadStore,
        cursors: CursorCodec,
        listener: Listener,
        *,
        health_timeout: float,
    ) -> Self:
        """Make the services on open pools; `health_timeout` is in seconds."""
        reader = database.reader
        return cls(
            uow=database.uow,
            keys=ApiKeyAuthenticator(database),
            deals=DealReadService(DealReadRepository(reader), cursors),
            hotels=HotelReadService(HotelReadRepository(reader), cursors),
            categories=CategoryService(CategoryRepository(reader)),
            exports=ExportService(ExportRepository(database.streams)),
            imports=ImportService(database, uploads, cursors, listener),
            health=HealthService(database, health_timeout),
        )


def service_state(request: Request) -> ServiceState:
    """Return what the application's lifespan has made."""
    state: ServiceState = request.app.state.services
    return state
