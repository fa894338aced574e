"""Engines, transactions, and the only commit of the service.

Two types, so that a type checker tells a route that reads from one that writes: `Reader`, and
`WriteSession`, whose block is one transaction, committed when the block ends well and rolled back
when it does not.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.config import Settings
from app.db.errors import database_errors
from app.db.pgbouncer import transaction_pooling_args
from app.db.pool import PatientPool
from app.db.provisioning import DatabaseUrls
from app.db.reader import Reader
from app.db.streaming import SnapshotConnections
from app.observability.metrics import PoolState
from app.observability.sql_statistics import count_statements

_IDLE_SECONDS = 30.0
# How much later than the server the driver gives up, for a server that hangs.
_GRACE_SECONDS = 0.5


class WriteSession(AsyncSession):
    """One transaction; flush in it, never commit it."""


class Database:
    """The connection pools of one process. Make one, `dispose()` it at the end.

    `name` is by which the server's list of connections knows them.
    """

    def __init__(self, urls: DatabaseUrls, settings: Settings, name: str = "hotel-deals") -> None:
        self._urls = urls
        self._settings = settings
        self.write_engine = _create_engine(
            urls.primary,
            settings,
            settings.db_statement_timeout,
            {"application_name": name},
            pooled=urls.pooled,
        )
        count_statements(self.write_engine.sync_engine)
        self.read_engine = _create_engine(
            urls.replica,
            settings,
            settings.db_read_timeout,
            {"application_name": name, "default_transaction_read_only": "on"},
            pooled=urls.pooled,
        )
        self.reader = Reader(self.read_engine)
        self.replicated = urls.replica != urls.primary
        # For what must show as soon as it is written.
        self.primary_reader = Reader(self.write_engine)
        self._export_engine = _create_export_engine(urls, settings)
        self.streams = SnapshotConnections(self._export_engine, settings.export_concurrency)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteSession]:
        """A session whose work is stored, whole, when the block ends without an error.

        Raises:
            AppError: the database refused the work, at a statement or at the commit, or does not
                answer; nothing of it is stored.
        """
        with database_errors():
            async with WriteSession(self.write_engine, expire_on_commit=False) as session:
                try:
                    yield session
                    await session.commit()
                except BaseException:
                    # Closing would do so, too, and lose the connection when it fails: a driver that
                    # was cut off in the middle of a COPY refuses.
                    with suppress(DBAPIError):
                        await session.rollback()
                    raise

    @asynccontextmanager
    async def with_application_name(self, name: str) -> AsyncIterator["Database"]:
        """The same database by connections of another name, for the length of the block."""
        database = Database(self._urls, self._settings, name)
        try:
            yield database
        finally:
            await database.dispose()

    def pools(self) -> dict[str, PoolState]:
        """What the pools are like now, by their names."""
        engines = {"read": self.read_engine, "write": self.write_engine}
        return {name: cast("PatientPool", each.pool).state() for name, each in engines.items()}

    async def dispose(self) -> None:
        """Close every pooled connection."""
        await self._export_engine.dispose()
        await self.read_engine.dispose()
        await self.write_engine.dispose()


def _create_engine(
    url: str,
    settings: Settings,
    statement_timeout: float,
    server_settings: dict[str, str],
    *,
    pooled: bool,
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=PatientPool,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_recycle=settings.db_pool_recycle,
        pool_timeout=settings.db_pool_timeout,
        # What a statement's parameters are is the log's reader's business least of all.
        hide_parameters=True,
        connect_args=_connect_args(settings, statement_timeout, server_settings, pooled=pooled),
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed_connection)
    return engine


def _create_export_engine(urls: DatabaseUrls, settings: Settings) -> AsyncEngine:
    """Connections that are opened for one export each, with an export's time limit.

    An export on one core of the database's is slow enough for requests not to notice.
    """
    server_settings = {
        "application_name": "hotel-deals-export",
        "default_transaction_read_only": "on",
        # PostgreSQL may have written all while a slow client has some pieces still to read.
        "idle_in_transaction_session_timeout": _milliseconds(10 * settings.export_stall_timeout),
        "max_parallel_workers_per_gather": "0",
        # How COPY writes dates.
        "datestyle": "ISO",
    }
    return create_async_engine(
        urls.exports,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args=_connect_args(
            settings,
            settings.export_timeout,
            server_settings,
            pooled=urls.pooled and urls.exports != urls.direct,
        ),
    )


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
        # Nothing here leaves a transaction open on purpose; should a process freeze in the
        # middle of one, its locks are not for ever.
        "idle_in_transaction_session_timeout": _milliseconds(max(statement_timeout, _IDLE_SECONDS)),
        "lock_timeout": _milliseconds(settings.db_lock_timeout),
        **server_settings,
    }
    return {
        "timeout": settings.db_connect_timeout,
        "command_timeout": statement_timeout + _GRACE_SECONDS,
        **(
            transaction_pooling_args(server_settings)
            if pooled
            else {"server_settings": server_settings}
        ),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _refuse_closed_connection(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """What pool_pre_ping is for, without its round trip.

    asyncpg has seen the end of the socket of a server that restarted; the pool then connects anew.
    """
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError
