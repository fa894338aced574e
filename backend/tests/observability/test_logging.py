"""Log lines, as a collector reads them."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.servers import DEALS, free_port, patient_client, url_of, wait_until_it_answers
from tests.support.timeouts import LONG_TIMEOUTS_ENV

# Lines about requests have a faster renderer of their own. Both must write the same.
PROGRAM = """
import structlog
from app.core.config import load_settings
from app.observability.logging import configure_logging, log_request

configure_logging(load_settings())
fields = {"route": "/deals/{deal_id}", "status": None, "duration_ms": 1.25}
fields["request_id"] = 'a"\\u00e9'
log_request(**fields)
structlog.get_logger().info("request", **fields)
"""


def run_and_read_log(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": os.environ["PATH"], **environment},
        stderr=subprocess.PIPE,
        check=True,
    )
    return done.stderr.decode()


@pytest.mark.unit
@pytest.mark.parametrize("collector", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}])
def test_request_log_json_line_equals_structlog_line(collector: dict[str, str]) -> None:
    before = datetime.now(UTC)
    ours, others = (
        json.loads(line)
        for line in run_and_read_log(LOG_FORMAT="json", **collector).split("\n")[:2]
    )

    for line in (ours, others):
        assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert ours == others
    assert list(ours) == list(others)
    assert (ours["event"], ours["level"], ours["status"]) == ("request", "info", None)
    assert ours["request_id"] == 'a"é'


@pytest.mark.unit
def test_request_log_console_line_equals_structlog_line() -> None:
    ours, others, _ = run_and_read_log(LOG_FORMAT="console").split("\n")

    assert "request " in ours
    assert ours.partition("[info")[2] == others.partition("[info")[2] != ""


@pytest.mark.unit
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_log_level_warning_hides_info_lines(log_format: str) -> None:
    assert run_and_read_log(LOG_FORMAT=log_format, LOG_LEVEL="WARNING") == ""


@pytest.mark.integration
async def test_server_log_on_full_disk_keeps_serving(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    server = await asyncio.create_subprocess_shell(
        f"exec {DEALS} serve --port {port} >/dev/full 2>&1",
        env={
            **LONG_TIMEOUTS_ENV,
            "DATABASE_URL": database_url,
            "DATA_DIR": str(tmp_path),
            "PATH": "/no",
        },
        stdin=subprocess.DEVNULL,
    )
    try:
        await wait_until_it_answers(port)
        async with patient_client(url_of(port)) as client:
            statuses = [(await client.get("/deals")).status_code for _ in range(20)]
    finally:
        server.terminate()
        await server.wait()

    assert statuses == [200] * 20
