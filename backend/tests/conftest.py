"""One PostgreSQL for the run, one template built by the real migrations, and clones of it."""

import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import hypothesis
import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.support.databases import (
    SERVER_OPTIONS,
    VERSIONS,
    as_text,
    create_database,
    pools,
    run_id,
    run_server,
    temporary_database,
)
from tests.support.factories import CITIES, DealRow, HotelFactory, HotelRow, insert_catalog
from tests.support.pgbouncer import PgBouncer, let_in, running_pgbouncer
from tests.support.programs import require_program
from tests.support.timeouts import LONG_TIMEOUTS

from app.core.config import Settings
from app.db.migrations import upgrade_async
from app.db.session import Database
from app.embedded.server import embedded_postgres
from app.main import create_app
from app.services.import_runner import ImportRunner
from app.services.loading import LoadingService
from app.storage.uploads import UploadStore, upload_store

# Drop log lines unless a test captures them. pytest prints tracebacks.
structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[])


# The duration of an example depends on the machine.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

pytest_plugins = [
    "tests.plugins.failures",
    "tests.plugins.repeat",
    "tests.plugins.run_folder",
    "tests.plugins.tiers",
]

# The tests start hundreds of Python processes. Without byte code each would compile all modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell lets its background processes ignore SIGINT. Tests interrupt their processes by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def settings(run_dir: Path) -> Settings:
    """Return settings that ignore the environment and `.env`."""
    return Settings(
        _env_file=None,
        app_env="development",
        data_dir=run_dir / "data",
        database_url=None,
        read_database_url=None,
        db_pool_size=5,
        log_format="json",
        **LONG_TIMEOUTS,
    )


@pytest.fixture(scope="session")
def server_url(run_dir: Path) -> Iterator[URL]:
    with run_server(run_dir / "postgres") as url:
        yield url


@pytest.fixture(scope="session", params=VERSIONS)
def version_url(request: pytest.FixtureRequest, run_dir: Path) -> Iterator[URL]:
    """Start a server of each supported version. 18 may be the one at `TEST_DATABASE_URL`."""
    if request.param == 18:
        with run_server(run_dir / "postgres") as url:
            yield url
        return
    with embedded_postgres(
        run_dir / f"postgres{request.param}", version=request.param, options=SERVER_OPTIONS
    ) as server:
        yield make_url(server.url())


@pytest.fixture(scope="session")
async def template(server_url: URL, run_dir: Path) -> str:
    """Return the name of an empty database at head. The first worker builds it for all."""
    name = f"template_{run_id()}"
    done = run_dir / "template.done"
    with (run_dir / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            url = await create_database(server_url, name)
            await upgrade_async(as_text(url))
            done.touch()
    return name


@pytest.fixture
async def empty_url(server_url: URL) -> AsyncIterator[str]:
    """Create a database without tables."""
    async with temporary_database(server_url) as url:
        yield as_text(url)


@pytest.fixture
async def clone_url(server_url: URL, template: str) -> AsyncIterator[URL]:
    async with temporary_database(server_url, template) as url:
        yield url


@pytest.fixture
def database_url(clone_url: URL) -> str:
    """Create a database at head for one test, which may commit."""
    return as_text(clone_url)


@pytest.fixture
async def database(clone_url: URL, settings: Settings) -> AsyncIterator[Database]:
    """Open the service's pools on a database for one test."""
    async with pools(clone_url, settings) as database:
        yield database


@dataclass(frozen=True)
class Catalog:
    """A database with known deals, shared by the tests that only read."""

    database: Database
    url: URL
    hotels: dict[int, HotelRow]
    deals: list[DealRow]


@pytest.fixture(scope="session")
async def catalog(server_url: URL, template: str, settings: Settings) -> AsyncIterator[Catalog]:
    hotels = [
        # Every city has hotels, because tests search for each of them.
        *(HotelFactory.build(city=city) for city in CITIES for _ in range(3)),
        HotelFactory.build(name="O'Hara 100% Inn", city="ZÜRICH"),
        HotelFactory.build(name="Grand_Hotel", city="İstanbul"),
    ]
    async with (
        temporary_database(server_url, template) as url,
        pools(url, settings) as database,
    ):
        async with database.uow.begin() as session:
            deals = await insert_catalog(await session.connection(), hotels, deals_per_hotel=15)
            # Add a hotel without deals, and a category without deals.
            empty = HotelFactory.build(name="Empty House")
            await insert_catalog(await session.connection(), [empty], deals_per_hotel=0)
            await session.execute(text("INSERT INTO categories (name) VALUES ('unused')"))
        yield Catalog(database, url, {hotel.id: hotel for hotel in [*hotels, empty]}, deals)


@pytest.fixture(scope="session")
async def worker_database(
    server_url: URL, template: str, settings: Settings
) -> AsyncIterator[Database]:
    """Open a database that the tests of a worker share. Each test rolls back."""
    async with (
        temporary_database(server_url, template) as url,
        pools(url, settings) as database,
    ):
        yield database


@pytest.fixture
async def session(worker_database: Database) -> AsyncIterator[AsyncSession]:
    """Open a session whose work is rolled back.

    Its commits are savepoints of an outer transaction. Constraints are immediate, because deferred
    triggers would wait for the commit of that transaction.
    """
    async with worker_database.write_engine.connect() as connection:
        transaction = await connection.begin()
        await connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        async with AsyncSession(
            connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        ) as session:
            yield session
        await transaction.rollback()


@asynccontextmanager
async def app_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run the lifespan of `app`, and yield a client of it."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.fixture(scope="session")
async def pgbouncer(
    server_url: URL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PgBouncer]:
    """Start PgBouncer before the tests' server."""
    require_program("pgbouncer")
    await let_in(server_url)
    with running_pgbouncer(server_url, tmp_path_factory.getbasetemp() / "pgbouncer") as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def on_database(request: pytest.FixtureRequest, settings: Settings) -> Callable[[URL], Settings]:
    """Return a function from a URL to settings, by PgBouncer if THROUGH_PGBOUNCER is set."""
    if os.environ.get("THROUGH_PGBOUNCER"):
        bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
        return lambda url: bouncer.before(settings, url)
    return lambda url: settings.model_copy(update={"database_url": SecretStr(as_text(url))})


@pytest.fixture(scope="session")
async def client(
    catalog: Catalog, on_database: Callable[[URL], Settings]
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application on the shared catalog."""
    async with app_client(create_app(on_database(catalog.url))) as client:
        yield client


@pytest.fixture
def own_settings(
    clone_url: URL, on_database: Callable[[URL], Settings], tmp_path: Path
) -> Settings:
    """Return settings with a database and a folder for uploads that only this test uses."""
    return on_database(clone_url).model_copy(update={"data_dir": tmp_path / "data"})


@pytest.fixture
async def api(own_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application on a database for one test."""
    async with app_client(create_app(own_settings)) as client:
        yield client


@pytest.fixture
async def production_client(clone_url: URL, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application in production, where writes need a key."""
    changes = {
        "app_env": "production",
        "database_url": SecretStr(as_text(clone_url)),
        "signing_key": SecretStr("k" * 32),
    }
    async with app_client(create_app(settings.model_copy(update=changes))) as client:
        yield client


@pytest.fixture
def uploads(own_settings: Settings) -> UploadStore:
    return upload_store(own_settings)


@pytest.fixture
def runner(database: Database, uploads: UploadStore) -> ImportRunner:
    """Return the runner that a worker uses, with chunks of ten rows."""
    return ImportRunner(database, uploads, chunk_rows=10)


@pytest.fixture
def loading(database: Database) -> LoadingService:
    return LoadingService(database)


@pytest.fixture
def deals(tmp_path: Path) -> Path:
    return tmp_path / "deals.csv"


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "rejects.csv"
