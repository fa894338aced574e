"""The service without what watches and limits it: nothing counted, logged or refused.

For nothing but telling what that costs.
"""

import argparse
import os
from typing import Any
from unittest.mock import patch

from app.core.config import load_settings
from app.main import create_app
from app.observability.logging import configure_logging
from app.server.runner import run, uvicorn_config
from app.server.writing import OneWrite


def _nothing(*_arguments: Any) -> None:
    pass


def main() -> None:
    """Serve until SIGTERM, by a protocol that limits nothing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    # No line for a request.
    os.environ["LOG_LEVEL"] = "WARNING"
    settings = load_settings()
    configure_logging(settings)
    with (
        patch("app.http.middleware.observe_request", new=_nothing),
        patch("app.http.monitoring.Monitor._look", new=_nothing),
    ):
        run(uvicorn_config(create_app(settings), http=OneWrite, host="127.0.0.1", port=port))


if __name__ == "__main__":
    main()
