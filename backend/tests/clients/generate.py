# /// script
# requires-python = ">=3.11"
# dependencies = ["openapi-python-client==0.29.1"]
# ///
"""openapi-python-client, locked by itself: its dependencies are not those of the service.

`uv run --script tests/clients/generate.py generate --url http://127.0.0.1:8000/openapi.json`
"""

from openapi_python_client.cli import app

app()
