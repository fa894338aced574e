"""The service without metrics, access log and load shedding, to measure their cost."""

import argparse
import os
from typing import Any
from unittest.mock import patch

from starlette.types import ASGIApp

from app.core.config import load_settings
from app.main import create_app
from app.observability.logging import configure_logging
from app.server.runner import run, uvicorn_config


def _nothing(*_arguments: Any) -> None:
    pass


def _without_limits(app: ASGIApp, **_options: Any) -> ASGIApp:
    return app


def main() -> None:
    """Serve until SIGTERM, by uvicorn's own protocol."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    # Turns off the access log.
    os.environ["LOG_LEVEL"] = "WARNING"
    settings = load_settings()
    configure_logging(settings)
    with (
        patch("app.http.middleware.observe_request", new=_nothing),
        patch("app.http.monitoring.Monitor._look", new=_nothing),
        patch("app.main.LoadSheddingMiddleware", new=_without_limits),
        patch("app.main.EarlyResponseMiddleware", new=_without_limits),
    ):
        config = uvicorn_config(create_app(settings), http="httptools", host="127.0.0.1", port=port)
        run(config, stall_timeout=settings.export_stall_timeout)


if __name__ == "__main__":
    main()
