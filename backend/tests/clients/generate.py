# /// script
# requires-python = ">=3.11"
# dependencies = ["openapi-python-client==0.29.1"]
# ///
"""Run openapi-python-client from a locked environment of its own.

Its dependencies differ from those of the service.

`uv run --script tests/clients/generate.py generate --url http://127.0.0.1:8000/openapi.json`
"""

from openapi_python_client.cli import app

app()
