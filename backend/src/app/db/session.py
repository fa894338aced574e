"""The connection pools of one process, and the settings of their connections."""

from typing import Any, Self, cast

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.pool import QueuePool

from app.core.config import Settings
from app.db.connection_limiter import ConnectionLimiter
from app.db.driver import DriverConnection, driver_arguments
from app.db.pgbouncer import transaction_pooling_args
from app.db.provisioning import DatabaseUrls
from app.db.reader import Reader
from app.db.streaming import SnapshotConnections
from app.db.unit_of_work import UnitOfWork
from app.observability.metrics import PoolState
from app.observability.sql_statistics import count_statements

# Connections for reads by the ORM. Three suffice, because each read takes about a millisecond.
READ_SESSIONS = 3
_IDLE_SECONDS = 30.0
_CLIENT_CHECK_SECONDS = 1.0
# The driver's statement timeout is this much longer than the server's, so that the driver's timeout
# takes effect only if the server hangs.
_GRACE_SECONDS = 0.5


class Database:
    """The connection pools of one process, open inside an `async with` block.

    `name` is the `application_name` of the connections in `pg_stat_activity`.
    """

    def __init__(self, urls: DatabaseUrls, settings: Settings, name: str = "hotel-deals") -> None:
        self._urls = urls
        self._settings = settings
        pooled = urls.pooled
        writing = {"application_name": name}
        arguments = _connect_args(settings, settings.db_statement_timeout, writing, pooled=pooled)
        self._write_limiter = _limiter(settings)
        self.write_engine = _create_engine(
            urls.primary, settings, arguments, settings.db_pool_size, settings.db_max_overflow
        )
        self.uow = _unit_of_work(self.write_engine, self._write_limiter)
        reading = {**writing, "default_transaction_read_only": "on"}
        arguments = _connect_args(settings, settings.db_read_timeout, reading, pooled=pooled)
        self._read_limiter = ConnectionLimiter(READ_SESSIONS, 0, settings.db_pool_timeout)
        self._read_engine = _create_engine(urls.replica, settings, arguments, READ_SESSIONS, 0)
        # ORM reads have a separate pool, because writes can hold all of their connections while
        # they wait for locks.
        self.reads = _unit_of_work(self._read_engine, self._read_limiter)
        self.reader = Reader(
            _limiter(settings),
            max(settings.db_pool_recycle, 0),
            {**driver_arguments(urls.replica), **arguments},
        )
        self.replicated = urls.replica != urls.primary
        self.streams = SnapshotConnections(
            settings.export_concurrency, _export_arguments(urls, settings)
        )

    async def __aenter__(self) -> Self:
        await self.reader.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every pooled connection."""
        await self.reader.close()
        await self._read_engine.dispose()
        await self.write_engine.dispose()

    def with_application_name(self, name: str) -> "Database":
        """Return new pools for the same database, with `name` as their `application_name`."""
        return Database(self._urls, self._settings, name)

    def pools(self) -> dict[str, PoolState]:
        """Return the state of each pool, by pool name."""
        return {
            "read": self.reader.pool_state(),
            "read_session": self._read_limiter.state(_idle(self._read_engine)),
            "write": self._write_limiter.state(_idle(self.write_engine)),
        }


def _idle(engine: AsyncEngine) -> int:
    return cast("QueuePool", engine.pool).checkedin()


def _unit_of_work(engine: AsyncEngine, limiter: ConnectionLimiter) -> UnitOfWork:
    return UnitOfWork(async_sessionmaker(engine, expire_on_commit=False), limiter)


def _limiter(settings: Settings) -> ConnectionLimiter:
    return ConnectionLimiter(
        settings.db_pool_size, settings.db_max_overflow, settings.db_pool_timeout
    )


def _create_engine(
    url: str, settings: Settings, arguments: dict[str, Any], size: int, overflow: int
) -> AsyncEngine:
    caches = {}
    if "statement_cache_size" in arguments:
        # SQLAlchemy's cache of prepared statements must have the same size as the driver's.
        caches = {"prepared_statement_cache_size": arguments["statement_cache_size"]}
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=overflow,
        # For "never recycle", SQLAlchemy expects -1, but asyncpg's pool expects 0.
        pool_recycle=settings.db_pool_recycle or -1,
        pool_use_lifo=True,
        # Keep parameter values out of logs and errors.
        hide_parameters=True,
        connect_args={**arguments, **caches},
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed_connection)
    count_statements(engine.sync_engine)
    return engine


def _export_arguments(urls: DatabaseUrls, settings: Settings) -> dict[str, Any]:
    """Return the arguments of asyncpg's `connect` for exports, which have longer time limits.

    Parallel query is off, so that an export uses only one core of the database server and leaves
    the others to requests.
    """
    server_settings = {
        "application_name": "hotel-deals-export",
        "default_transaction_read_only": "on",
        # Allow for a slow client, which may still read buffered rows after PostgreSQL has sent all.
        "idle_in_transaction_session_timeout": _milliseconds(10 * settings.export_stall_timeout),
        "max_parallel_workers_per_gather": "0",
        # Make COPY write dates in ISO format, whatever the server's default.
        "datestyle": "ISO",
    }
    pooled = urls.pooled and urls.exports != urls.direct
    arguments = _connect_args(settings, settings.export_timeout, server_settings, pooled=pooled)
    return {**driver_arguments(urls.exports), **arguments}


def _connect_args(
    settings: Settings,
    statement_timeout: float,
    server_settings: dict[str, str],
    *,
    pooled: bool,
) -> dict[str, Any]:
    server_settings = {
        "jit": "off",
        "timezone": "UTC",
        "statement_timeout": _milliseconds(statement_timeout),
        # The service leaves no transaction idle on purpose. The timeout ends the transaction of a
        # process that freezes, and so releases the locks.
        "idle_in_transaction_session_timeout": _milliseconds(max(statement_timeout, _IDLE_SECONDS)),
        # A cancel request that reaches the server before the statement starts is lost. With this
        # check, the server ends such a statement when the connection is closed (PostgreSQL 14).
        "client_connection_check_interval": _milliseconds(_CLIENT_CHECK_SECONDS),
        "lock_timeout": _milliseconds(settings.db_lock_timeout),
        **server_settings,
    }
    return {
        "timeout": settings.db_connect_timeout,
        "command_timeout": statement_timeout + _GRACE_SECONDS,
        "connection_class": DriverConnection,
        **(
            transaction_pooling_args(server_settings)
            if pooled
            else {"server_settings": server_settings}
        ),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _refuse_closed_connection(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """Make the pool replace a closed connection, without the round trip of `pool_pre_ping`.

    When the server restarts, asyncpg notices the closed socket and marks the connection as closed.
    """
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError
