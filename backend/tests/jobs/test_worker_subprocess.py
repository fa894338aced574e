"""The worker process beside a server: `deals serve --with-worker` and `deals demo`."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.embedded.embedded_users import processes_of
from tests.jobs.workers import (
    Rows,
    deals_csv,
    stop,
    upload,
    wait_finished,
)
from tests.support.child_processes import child_workers
from tests.support.servers import DEALS, free_port, patient_client, url_of
from tests.support.timeouts import LONG_TIMEOUTS_ENV, TIMEOUT
from tests.support.waiting import wait_for

from app.cli import main
from app.core.config import Settings
from app.jobs.worker_subprocess import worker_subprocess

pytestmark = pytest.mark.integration


@contextmanager
def run_deals(
    arguments: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `deals` in a process group of its own, which a terminal's Ctrl-C would signal."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [DEALS, *arguments],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "Traceback" not in log.read_text()


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def wait_until_ended(pid: int) -> None:
    await wait_for(lambda: not is_running(pid), "the worker process ends")


async def wait_for_worker(pid: int, *others: int) -> int:
    """Wait for a worker of the process that is not one of `others`, and return its id."""

    def new_workers() -> list[int]:
        return [child for child in child_workers(pid) if child not in others]

    (child,) = await wait_for(new_workers, "the process has a worker")
    return child


async def wait_until_registered(rows: Rows, count: int) -> None:
    async def are_registered() -> bool:
        with suppress(Exception):
            return len(await rows("SELECT 1 FROM procrastinate_workers")) == count
        return False

    await wait_for(are_registered, "the workers are registered")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(temporary),
        **LONG_TIMEOUTS_ENV,
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": "",
    }


@pytest.fixture
def serve_command(
    environment: dict[str, str], database_url: str
) -> tuple[list[str], dict[str, str]]:
    arguments = ["serve", "--with-worker", "--port", str(free_port())]
    return arguments, {**environment, "DATABASE_URL": database_url, "WORKER_HEARTBEAT": "0.5"}


@pytest.mark.parametrize("ending", ["SIGTERM", pytest.param("Ctrl-C", marks=pytest.mark.slow)])
async def test_serve_with_worker_stopped_ends_worker(
    serve_command: tuple[list[str], dict[str, str]], rows: Rows, tmp_path: Path, ending: str
) -> None:
    with run_deals(*serve_command, tmp_path / "log") as server:
        worker = await wait_for_worker(server.pid)
        await wait_until_registered(rows, 1)
        if ending == "SIGTERM":
            assert await stop(server) == 0
        else:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(TIMEOUT)
        await wait_until_ended(worker)
        # The worker has deregistered itself, so no other worker has to find it dead.
        assert await rows("SELECT 1 FROM procrastinate_workers") == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.4])
async def test_serve_with_worker_ctrl_c_during_start_ends_worker(
    serve_command: tuple[list[str], dict[str, str]], tmp_path: Path, seconds: float
) -> None:
    with run_deals(*serve_command, tmp_path / "log") as server:
        worker = await wait_for_worker(server.pid)
        # Interrupt the worker while it imports modules, which has no visible sign.
        await asyncio.sleep(seconds)
        os.killpg(server.pid, signal.SIGINT)
        server.wait(TIMEOUT)
        await wait_until_ended(worker)


@pytest.mark.slow
async def test_serve_with_worker_killed_ends_worker(
    serve_command: tuple[list[str], dict[str, str]], rows: Rows, tmp_path: Path
) -> None:
    with run_deals(*serve_command, tmp_path / "log") as server:
        worker = await wait_for_worker(server.pid)
        await wait_until_registered(rows, 1)
        server.kill()
        server.wait()
        await wait_until_ended(worker)
        assert await rows("SELECT 1 FROM procrastinate_workers") == []


async def test_worker_subprocess_killed_is_replaced(
    api: httpx.AsyncClient, own_settings: Settings, rows: Rows, tmp_path: Path
) -> None:
    server = os.getpid()
    with worker_subprocess(own_settings):
        worker = await wait_for_worker(server)
        await wait_until_registered(rows, 1)
        # The worker has a lower priority than the server.
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(os.PRIO_PROCESS, server)
        os.kill(worker, signal.SIGKILL)
        replacement = await wait_for_worker(server, worker)
        made = await upload(api, deals_csv(tmp_path / "deals.csv", 50))
        assert (await wait_finished(api, made))["inserted"] == 50
    await wait_until_ended(replacement)


@pytest.mark.slow
async def test_demo_upload_is_imported(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    arguments = ["demo", "--port", str(port), "--rows", "20"]
    with run_deals(arguments, environment, tmp_path / "log") as demo:
        async with patient_client(url_of(port)) as client:

            async def answers() -> bool:
                with suppress(httpx.TransportError):
                    return (await client.get("/health")).status_code == 200
                return False

            await wait_for(answers, "the demo answers")
            made = await upload(client, deals_csv(tmp_path / "deals.csv", 50))
            assert (await wait_finished(client, made))["rows_read"] == 50
        worker = await wait_for_worker(demo.pid)
        demo.kill()
        demo.wait()
        await wait_until_ended(worker)
    await wait_for(lambda: not processes_of(tmp_path / "data"), "the database stops")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, "DATABASE_URL"),
        ({"UPLOADS_URL": "ftp://u:s3cret@h/d"}, "UPLOADS_URL"),
        ({"UPLOADS_URL": "s3://bucket", "AWS_ENDPOINT_URL": "s3cret"}, "AWS_ENDPOINT_URL"),
        ({"WORKER_HEARTBEAT": "0"}, "WORKER_HEARTBEAT"),
    ],
)
def test_worker_invalid_setting_exits_with_one_line_naming_it(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    environment: dict[str, str],
    variables: dict[str, str],
    named: str,
) -> None:
    for name, value in {**environment, **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["deals", "worker"])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        main.main()
    signal.signal(signal.SIGTERM, handler)
    error = capfd.readouterr().err

    assert caught.value.code == 3
    assert error.startswith(f"deals: wrong settings: {named}")
    assert "s3cret" not in error
    assert error.count("\n") == 1
