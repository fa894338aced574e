"""What the service counts about itself, as Prometheus reads it.

The instruments are the process's, as Prometheus has them. Where a server has several workers,
`share` makes them write to one folder, and whichever is asked answers for all.
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

# The library's own name for it; it is read when the library is imported.
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
# Seconds: from a read by id to what a statement may take at most.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# When a series began is not known where several processes share it.
disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()

_requests = Histogram(
    "deals_http_request_duration_seconds",
    "From a request's head to the end of its response",
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
    "Time that requests have waited for the database's answers",
    ("method", "route"),
    registry=_registry,
)
requests_shed = Counter(
    "deals_http_requests_shed",
    "Requests that were refused because too many were in progress",
    registry=_registry,
)
in_progress = Gauge(
    "deals_http_requests_in_progress",
    "Requests that were let in and have not ended, as of the last look",
    registry=_registry,
    multiprocess_mode="livesum",
)
_pool_connections = Gauge(
    "deals_db_pool_connections",
    "Connections of a pool, as of the last look",
    ("pool", "state"),
    registry=_registry,
    multiprocess_mode="livesum",
)
_pool_waiting = Gauge(
    "deals_db_pool_waiting",
    "Who waits for a connection, as of the last look",
    ("pool",),
    registry=_registry,
    multiprocess_mode="livesum",
)
_pool_waits = Counter(
    "deals_db_pool_waits",
    "How often a connection had to be waited for",
    ("pool",),
    registry=_registry,
)
_pool_wait_seconds = Counter(
    "deals_db_pool_wait_seconds",
    "How long connections were waited for",
    ("pool",),
    registry=_registry,
)
_lag = Histogram(
    "deals_event_loop_lag_seconds",
    "By how much a timer was late: what every request waits for, too",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    registry=_registry,
)
_memory = Gauge(
    "deals_resident_memory_bytes",
    "RAM of the processes that serve",
    registry=_registry,
    multiprocess_mode="livesum",
)
_build = Gauge(
    "deals_build_info",
    "1 for each process that serves",
    ("version", "python"),
    registry=_registry,
    multiprocess_mode="livesum",
)


class PoolState(NamedTuple):
    """A pool at one moment: connections in use and idle, who waits, and what was waited so far."""

    in_use: int
    idle: int
    waiting: int
    waits: int
    wait_seconds: float


def share(folder: Path) -> None:
    """Have the processes that are started from here on count together, in an empty folder."""
    os.environ[_SHARED] = str(folder)


def observe_request(
    method: str, route: str | None, status: int | None, seconds: float, sql: tuple[int, float]
) -> None:
    """Count a request that has ended.

    Args:
        method: of any kind; those that no route has are one.
        route: the template of its path, or None: whatever else was asked for.
        status: or None when the client went before the response.
        seconds: how long it took.
        sql: how many SQL statements it has cost, and the seconds of them.
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
    """A pool's figures, from one look to the next."""

    def __init__(self, name: str) -> None:
        self._in_use = _pool_connections.labels(name, "in_use")
        self._idle = _pool_connections.labels(name, "idle")
        self._waiting = _pool_waiting.labels(name)
        self._waits = _pool_waits.labels(name)
        self._wait_seconds = _pool_wait_seconds.labels(name)
        self._before = PoolState(0, 0, 0, 0, 0.0)

    def set(self, now: PoolState) -> None:
        """Take over what a pool is like now."""
        self._in_use.set(now.in_use)
        self._idle.set(now.idle)
        self._waiting.set(now.waiting)
        self._waits.inc(now.waits - self._before.waits)
        self._wait_seconds.inc(now.wait_seconds - self._before.wait_seconds)
        self._before = now


def observe_lag(seconds: float) -> None:
    """Note by how much a timer of the event loop was late."""
    _lag.observe(max(seconds, 0.0))


def announce() -> None:
    """Note that this process serves, and what it is."""
    _build.labels(version("hotel-deals"), platform.python_version()).set(1)


def observe_process() -> None:
    """Note how large this process is."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return
    _memory.set(pages * os.sysconf("SC_PAGE_SIZE"))


def exposition(*more: Collector) -> bytes:
    """Everything, of all processes that share, and what else there is; Prometheus' text format."""
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
    """A worker that was killed has not said so; what it counted stays, how it was does not."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists() and Path("/proc").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]
