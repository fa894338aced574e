"""Measurements of the process, and the metrics endpoint for Prometheus."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import uvicorn
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.core.errors import AppError
from app.db.session import Database
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.sockets import listen
from app.observability import metrics
from app.schemas.backlog import Backlog
from app.services.backlog import BacklogService

# Seconds between two measurements. Prometheus usually scrapes every 15 seconds.
_PAUSE = 1.0
# Timeout in seconds for a client of METRICS_PORT that reads nothing, and for in-flight responses on
# this port during a shutdown.
_PATIENCE = 5


class Monitor:
    """A monitor of one process's connection pools, event loop and in-flight requests."""

    def __init__(
        self, database: Database, backlog: BacklogService, limiter: ConcurrencyLimiter
    ) -> None:
        self._database = database
        self._limiter = limiter
        self._backlog = backlog
        self._gauges = {name: metrics.PoolGauges(name) for name in database.pools()}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure once a second inside the block."""
        metrics.announce()
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + _PAUSE
            await asyncio.sleep(_PAUSE)
            metrics.observe_lag(time.perf_counter() - due)
            self._look()

    def _look(self) -> None:
        for name, state in self._database.pools().items():
            self._gauges[name].set(state)
        metrics.in_progress.set(self._limiter.in_progress)
        metrics.observe_process()

    async def respond(self, _: Request) -> Response:
        """Return all metrics in Prometheus' format.

        If the database does not answer within the timeout, its metrics are left out.
        """
        self._look()
        try:
            backlog = await self._backlog.now()
        except AppError:
            backlog = None
        return Response(metrics.exposition(_Told(backlog)), media_type=metrics.CONTENT_TYPE)


class _Told(Collector):
    """Metrics of background jobs and imports, read from the database all processes share."""

    def __init__(self, backlog: Backlog | None) -> None:
        self._backlog = backlog

    def collect(self) -> Iterable[Metric]:
        found = self._backlog
        yield GaugeMetricFamily(
            "deals_database_up", "Whether the database answers", value=float(found is not None)
        )
        if found is None:
            return
        jobs = GaugeMetricFamily("deals_jobs", "Background jobs", labels=["state"])
        for state in ("waiting", "running", "failed"):
            jobs.add_metric([state], getattr(found, state))
        yield jobs
        yield GaugeMetricFamily(
            "deals_job_oldest_seconds",
            "Seconds that the oldest due job has waited",
            value=found.oldest_seconds,
        )
        yield GaugeMetricFamily(
            "deals_workers", "Workers with a recent heartbeat", value=found.workers
        )
        rows = CounterMetricFamily("deals_import_rows", "Rows of imports", labels=["outcome"])
        for outcome in ("inserted", "updated", "unchanged", "rejected"):
            rows.add_metric([outcome], getattr(found, outcome))
        yield rows


@asynccontextmanager
async def metrics_served(monitor: Monitor, host: str, port: int) -> AsyncIterator[None]:
    """Serve the metrics on a separate port inside the block.

    All server processes listen on this port, and each returns the metrics of all processes.

    The metrics server runs in a separate thread, because in the main thread uvicorn would install
    signal handlers. The monitor runs in the main event loop, which owns its database connections.

    Raises:
        ConfigurationError: the service cannot listen on this address.
    """
    loop = asyncio.get_running_loop()

    async def respond(request: Request) -> Response:
        looking = asyncio.run_coroutine_threadsafe(monitor.respond(request), loop)
        return await asyncio.wrap_future(looking)

    config = uvicorn.Config(
        Starlette(routes=[Route("/metrics", respond)]),
        # A uvloop event loop cannot close while it holds bytes for a client that reads nothing.
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
    )
    server = uvicorn.Server(config)
    sockets = listen(host, port, "METRICS_PORT", shared=True, stall_timeout=_PATIENCE)
    with ThreadPoolExecutor(1, thread_name_prefix="metrics") as thread:
        serving = loop.run_in_executor(thread, server.run, sockets)
        try:
            yield
        finally:
            server.should_exit = True
            await serving
