"""`deals demo` as a process: its answers, and a clean stop."""

import signal
from pathlib import Path

import pytest
from tests.cli.deals_process import RunDeals, get, is_healthy, start_deals
from tests.support.child_processes import processes_of
from tests.support.servers import free_port
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for_sync

from app.ingestion.generator import generate

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_demo_serves_generated_deals_and_stops_cleanly(
    environment: dict[str, str], tmp_path: Path, stop: signal.Signals
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    for expected in ("700 inserted", "700 deals are loaded already"):
        log = tmp_path / "log"
        with (
            log.open("wb") as output,
            start_deals(
                ["demo", "--port", str(port), "--rows", "700"], environment, output
            ) as demo,
        ):
            wait_for_sync(lambda: is_healthy(base), "healthy")
            assert get(f"{base}/health").json() == {"status": "ok"}
            assert get(f"{base}/deals").json()["total"] == 700
            demo.send_signal(stop)
            assert demo.wait(TIMEOUT) == 0
        assert expected in log.read_text()
        assert f"{base}/docs" in log.read_text()
        assert "Traceback" not in log.read_text()
        assert processes_of(tmp_path / "data") == []


@pytest.mark.slow
def test_demo_interrupted_early_leaves_no_process(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (
        (tmp_path / "log").open("wb") as output,
        start_deals(["demo", "--port", str(free_port())], environment, output) as demo,
    ):
        wait_for_sync(lambda: bool(processes_of(tmp_path / "data")), "the database starts")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(TIMEOUT) == 130
    assert "Traceback" not in (tmp_path / "log").read_text()
    wait_for_sync(lambda: not processes_of(tmp_path / "data"), "all gone")


@pytest.mark.slow
def test_demo_with_loaded_deals_keeps_them(
    run: RunDeals, environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    environment["DATABASE_URL"] = database_url
    generate(tmp_path / "mine.csv", rows=5, seed=9)
    run("load", "mine.csv")
    port = free_port()
    with (
        (tmp_path / "log").open("wb") as output,
        start_deals(["demo", "--port", str(port), "--rows", "700"], environment, output) as demo,
    ):
        wait_for_sync(lambda: is_healthy(f"http://127.0.0.1:{port}"), "healthy")
        assert get(f"http://127.0.0.1:{port}/deals").json()["total"] == 5
        demo.send_signal(signal.SIGINT)
        demo.wait(TIMEOUT)
