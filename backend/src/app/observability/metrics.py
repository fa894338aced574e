"""The metrics of the service, in Prometheus format.

Each process has its own instruments. If a server has several processes, `share` makes them write to
one folder, and the process that answers a scrape reports the sums over all processes.
"""

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# The environment variable in which prometheus_client looks for the shared folder.
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
# Histogram buckets in seconds, from the time of a read by id to the time limit of a statement.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Omit the `_created` series: processes that share a metric do not know when the metric was created.
disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()

_requests = Histogram(
    "deals_http_request_duration_seconds",
    "Time from a request's head to the end of its response",
    ("method", "route", "status"),
    buckets=_BUCKETS,
    registry=_registry,
)
_statements = Counter(
    "deals_http_request_sql_statements",
    "SQL statements of requests",
    ("method", "route"),
    registry=_registry,
)
_sql_seconds = Counter(
    "deals_http_request_sql_seconds",
    "Time that requests waited for answers of the database",
    ("method", "route"),
    registry=_registry,
)
requests_shed = Counter(
    "deals_http_requests_shed",
    "Requests refused because too many were in progress",
    registry=_registry,
)
in_progress = Gauge(
    "deals_http_requests_in_progress",
    "Admitted requests in progress, as of the last sample",
    registry=_registry,
    multiprocess_mode="livesum",
)
_pool_connections = Gauge(
    "deals_db_pool_connections",
    "Connections of a pool, as of the last sample",
    ("pool", "state"),
    registry=_registry,
    multiprocess_mode="livesum",
)
_pool_waiting = Gauge(
    "deals_db_pool_waiting",
    "Requests waiting for a connection, as of the last sample",
    ("pool",),
    registry=_registry,
    multiprocess_mode="livesum",
)
_pool_waits = Counter(
    "deals_db_pool_waits",
    "Number of waits for a connection",
    ("pool",),
    registry=_registry,
)
_pool_wait_seconds = Counter(
    "deals_db_pool_wait_seconds",
    "Time spent waiting for connections",
    ("pool",),
    registry=_registry,
)
_lag = Histogram(
    "deals_event_loop_lag_seconds",
    "Delay of a timer of the event loop, by which every request is delayed",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    registry=_registry,
)
_memory = Gauge(
    "deals_resident_memory_bytes",
    "Resident memory of the processes that serve requests",
    registry=_registry,
    multiprocess_mode="livesum",
)
_build = Gauge(
    "deals_build_info",
    "1 for each process that serves requests",
    ("version", "python"),
    registry=_registry,
    multiprocess_mode="livesum",
)


class PoolState(NamedTuple):
    """The state of a pool: connections in use, idle connections, waiting tasks, and past waits."""

    in_use: int
    idle: int
    waiting: int
    waits: int
    wait_seconds: float


def share(folder: Path) -> None:
    """Make all processes started after this call share their metrics in the empty `folder`."""
    os.environ[_SHARED] = str(folder)


def observe_request(
    method: str, route: str | None, status: int | None, seconds: float, sql: tuple[int, float]
) -> None:
    """Record a finished request and its SQL statements.

    Args:
        method: the HTTP method. Methods without a route are counted as "other".
        route: the path template, or None if no route matched.
        status: the status code, or None if the client disconnected before the response.
        seconds: the duration of the request.
        sql: the count of the request's SQL statements, and their total duration in seconds.
    """
    duration, statements, sql_seconds = _instruments(
        method if method in _METHODS else "other",
        route or "none",
        f"{status // 100}xx" if status else "none",
    )
    duration.observe(seconds)
    if sql[0]:
        statements.inc(sql[0])
        sql_seconds.inc(sql[1])


@cache
def _instruments(method: str, route: str, status: str) -> tuple[Histogram, Counter, Counter]:
    return (
        _requests.labels(method, route, status),
        _statements.labels(method, route),
        _sql_seconds.labels(method, route),
    )


class PoolGauges:
    """The metrics of one connection pool, updated from samples of its state."""

    def __init__(self, name: str) -> None:
        self._in_use = _pool_connections.labels(name, "in_use")
        self._idle = _pool_connections.labels(name, "idle")
        self._waiting = _pool_waiting.labels(name)
        self._waits = _pool_waits.labels(name)
        self._wait_seconds = _pool_wait_seconds.labels(name)
        self._before = PoolState(0, 0, 0, 0, 0.0)

    def set(self, now: PoolState) -> None:
        """Update the metrics to the pool's current state."""
        self._in_use.set(now.in_use)
        self._idle.set(now.idle)
        self._waiting.set(now.waiting)
        self._waits.inc(now.waits - self._before.waits)
        self._wait_seconds.inc(now.wait_seconds - self._before.wait_seconds)
        self._before = now


def observe_lag(seconds: float) -> None:
    """Record how late a timer of the event loop fired."""
    _lag.observe(max(seconds, 0.0))


def announce() -> None:
    """Export the versions of the service and of Python as a metric."""
    _build.labels(version("hotel-deals"), platform.python_version()).set(1)


def observe_process() -> None:
    """Record the resident memory of this process. Without `/proc`, record nothing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return
    _memory.set(pages * os.sysconf("SC_PAGE_SIZE"))


def exposition(*more: Collector) -> bytes:
    """Return the metrics of all processes and of the collectors `more`, in Prometheus format."""
    folder = os.environ.get(_SHARED)
    registry = _registry
    if folder:
        _forget_the_dead(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    others = CollectorRegistry()
    for each in more:
        others.register(each)
    return generate_latest(registry) + generate_latest(others)


def _forget_the_dead(folder: Path) -> None:
    """Remove gauges that killed processes left in `folder`. Keep the processes' counters."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists() and Path("/proc").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]
