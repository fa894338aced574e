"""`deals serve` with several workers, and on a port in use."""

import signal
import socket
from pathlib import Path

import httpx
import pytest
from tests.cli.deals_process import get, is_healthy, start_deals
from tests.support.child_processes import processes_of
from tests.support.commands import Command
from tests.support.servers import free_port
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for_sync

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_serve_two_workers_migrates_and_answers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    with (
        (tmp_path / "log").open("wb") as output,
        start_deals(["serve", "--port", str(port), "--workers", "2"], environment, output) as serve,
    ):
        wait_for_sync(lambda: is_healthy(f"http://127.0.0.1:{port}"), "healthy")
        page = get(f"http://127.0.0.1:{port}/deals").json()
        assert (page["items"], page["total"]) == ([], 0)
        # A real connection: the server must not wait for the body of a HEAD response.
        with httpx.Client(timeout=TIMEOUT, base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(2):
                head = client.head("/deals")
                assert (head.status_code, head.content) == (200, b"")
                assert (
                    head.headers["content-length"] == client.get("/deals").headers["content-length"]
                )
        serve.send_signal(signal.SIGTERM)
        serve.wait(TIMEOUT)
    assert "Traceback" not in (tmp_path / "log").read_text()
    wait_for_sync(lambda: not processes_of(tmp_path / "data"), "all gone")


def test_serve_and_demo_taken_port_exits_3_with_one_line(invoke: Command) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        for command in ("demo", "serve"):
            result = invoke(command, "--port", str(port))
            assert result.returncode == 3
            assert result.stderr.startswith(f"deals: cannot listen on 127.0.0.1:{port}")
            assert result.stderr.count("\n") == 1
