"""Starting uvicorn, the same way from every command."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload, Multiprocess

from app.core.config import Settings
from app.core.signing import signing_key
from app.http.sockets import base_url, listen, require_free_port
from app.main import create_app
from app.observability import metrics
from app.server.bounded_head import bounded_head

logger = logging.getLogger(__name__)

# How long requests under way may take after SIGTERM before their connections are cut.
DRAIN_SECONDS = 30
# After so many seconds of silence a worker is killed, and another one started. uvicorn's 5 are less
# than starting takes on a busy machine, where none would ever get there.
_WORKER_SILENCE = 30
# Connections, in a turn of the event loop.
_TAKEN_AT_ONCE = 16


def serve(
    settings: Settings, *, host: str, port: int, workers: int = 1, reload: bool = False
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests under way.

    One process gets the application itself; several, or one that is restarted when the code
    changes, import its factory and read the environment by themselves.

    Raises:
        ConfigurationError: the settings do not allow it.
    """
    # OpenTelemetry's own variable, for whoever has not set it.
    os.environ.setdefault("OTEL_SERVICE_NAME", "hotel-deals")
    if settings.metrics_port is not None:
        # The workers share it, so that none of them notices somebody else there.
        require_free_port(settings.metrics_host, settings.metrics_port, "METRICS_PORT")
    # Before any worker starts: what would stop each of them is one line.
    signing_key(settings)
    many = workers > 1 or reload
    with _counting_together() if workers > 1 else nullcontext():
        run(
            uvicorn_config(
                "app.main:app_from_environment" if many else create_app(settings),
                http=bounded_head(settings.request_arrival_timeout),
                factory=many,
                host=host,
                port=port,
                workers=workers if workers > 1 else None,
                reload=reload,
                reload_dirs=[str(Path(__file__).parents[1])] if reload else None,
            ),
            stall_timeout=settings.export_stall_timeout,
        )


def uvicorn_config(application: ASGIApp | str, **options: Any) -> uvicorn.Config:
    """Return what uvicorn is told of any server; `options` are its own, of this one."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        # There are no WebSockets here, whatever is installed.
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # The application has its own, by FORWARDED_ALLOW_IPS.
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=_WORKER_SILENCE,
        **options,
    )


def run(config: uvicorn.Config, *, stall_timeout: float) -> None:
    """Serve as `uvicorn.run` does, but listen more than once on the one socket.

    A client that reads nothing for `stall_timeout` seconds is disconnected. libuv takes one
    connection from each socket in a turn of its loop (libuv's pull request 3696). When turns take
    long, that is when there is much to do, new clients would wait for seconds before they can be
    refused.

    Raises:
        ConfigurationError: nothing can listen there.
    """
    sockets = listen(config.host, config.port, "--port", stall_timeout=stall_timeout)
    logger.info("listening on %s", base_url(config.host, config.port))
    sockets += [each.dup() for each in sockets for _ in range(_TAKEN_AT_ONCE - 1)]
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        if config.should_reload:
            ChangeReload(config, target=server.run, sockets=sockets).run()
        elif config.workers > 1:
            Multiprocess(config, sockets=sockets).run()
        else:
            server.run(sockets)
    if not (server.started or config.should_reload or config.workers > 1):
        sys.exit(STARTUP_FAILURE)


@contextmanager
def _counting_together() -> Iterator[None]:
    """Workers write what they count to files, which go with them."""
    with TemporaryDirectory(prefix="deals-metrics-") as folder:
        metrics.share(Path(folder))
        yield
