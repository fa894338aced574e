"""Start-up of uvicorn for all commands that run a server."""

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

# Seconds that in-flight requests may take after SIGTERM before uvicorn closes their connections.
DRAIN_SECONDS = 30
# Seconds after which uvicorn replaces a server process that does not respond. On a busy machine,
# uvicorn's default of 5 would end processes before they have started.
_WORKER_SILENCE = 30
# Maximum number of connections that a process accepts in one iteration of the event loop.
_TAKEN_AT_ONCE = 16


def serve(
    settings: Settings, *, host: str, port: int, workers: int = 1, reload: bool = False
) -> None:
    """Run the service until SIGINT or SIGTERM, and let in-flight requests finish.

    A single process uses `settings`. With several processes or with `reload`, each process creates
    the application and reads its settings from the environment.

    Raises:
        ConfigurationError: a port is in use, or the signing key is missing.
    """
    # The default service name in traces. A value in the environment overrides it.
    os.environ.setdefault("OTEL_SERVICE_NAME", "hotel-deals")
    if settings.metrics_port is not None:
        # Check the port here: the server processes share it and would not notice another program.
        require_free_port(settings.metrics_host, settings.metrics_port, "METRICS_PORT")
    # Check the signing key once here, so that not every process reports the same error.
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
    """Configure uvicorn with the options that all servers share, and with `options`."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        # Disable WebSockets, even if a library for them is installed.
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # The application adds ProxyHeadersMiddleware itself, according to FORWARDED_ALLOW_IPS.
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=_WORKER_SILENCE,
        **options,
    )


def run(config: uvicorn.Config, *, stall_timeout: float) -> None:
    """Run a server like `uvicorn.run`, but with duplicates of the listening socket.

    libuv accepts one connection per socket in a loop iteration (libuv pull request 3696). Under
    load an iteration takes long, so with one socket new clients would wait seconds for a refusal.

    A client that reads nothing for `stall_timeout` seconds is disconnected.

    Raises:
        ConfigurationError: the service cannot listen on this address.
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
    """Share metrics between server processes through files in a temporary folder."""
    with TemporaryDirectory(prefix="deals-metrics-") as folder:
        metrics.share(Path(folder))
        yield
