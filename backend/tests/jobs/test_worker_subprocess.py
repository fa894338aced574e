"""Workers beside a server, as `deals serve --with-worker` and `deals demo` start them."""

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
def started(
    arguments: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """In a group of its own, which a terminal's Ctrl-C would go to."""
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


def runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def is_gone(pid: int) -> None:
    async def gone() -> bool:
        return not runs(pid)

    await wait_for(gone, "the child ends")


async def worker_of(pid: int, *others: int) -> int:
    """The worker that the process has, none of `others`."""

    async def found() -> list[int]:
        return [child for child in child_workers(pid) if child not in others]

    (child,) = await wait_for(found, "it has a worker")
    return int(child)


async def is_at_work(rows: Rows, count: int) -> None:
    async def is_there() -> bool:
        with suppress(Exception):
            return len(await rows("SELECT 1 FROM procrastinate_workers")) == count
        return False

    await wait_for(is_there, "it works")


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
def serving(environment: dict[str, str], database_url: str) -> tuple[list[str], dict[str, str]]:
    arguments = ["serve", "--with-worker", "--port", str(free_port())]
    return arguments, {**environment, "DATABASE_URL": database_url, "WORKER_HEARTBEAT": "0.5"}


@pytest.mark.parametrize("ending", ["SIGTERM", pytest.param("Ctrl-C", marks=pytest.mark.slow)])
async def test_it_ends_with_the_server(
    serving: tuple[list[str], dict[str, str]], rows: Rows, tmp_path: Path, ending: str
) -> None:
    with started(*serving, tmp_path / "log") as server:
        worker = await worker_of(server.pid)
        await is_at_work(rows, 1)
        if ending == "SIGTERM":
            assert await stop(server) == 0
        else:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(TIMEOUT)
        await is_gone(worker)
        # It has said so: nothing has to be found dead.
        assert await rows("SELECT 1 FROM procrastinate_workers") == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.4])
async def test_ctrl_c_before_the_worker_has_started(
    serving: tuple[list[str], dict[str, str]], tmp_path: Path, seconds: float
) -> None:
    with started(*serving, tmp_path / "log") as server:
        worker = await worker_of(server.pid)
        # In the middle of its imports; of that nothing can be seen.
        await asyncio.sleep(seconds)
        os.killpg(server.pid, signal.SIGINT)
        server.wait(TIMEOUT)
        await is_gone(worker)


@pytest.mark.slow
async def test_it_ends_when_the_server_is_killed(
    serving: tuple[list[str], dict[str, str]], rows: Rows, tmp_path: Path
) -> None:
    with started(*serving, tmp_path / "log") as server:
        worker = await worker_of(server.pid)
        await is_at_work(rows, 1)
        server.kill()
        server.wait()
        await is_gone(worker)
        assert await rows("SELECT 1 FROM procrastinate_workers") == []


async def test_another_comes_when_it_is_killed(
    api: httpx.AsyncClient, own_settings: Settings, rows: Rows, tmp_path: Path
) -> None:
    server = os.getpid()
    with worker_subprocess(own_settings):
        worker = await worker_of(server)
        await is_at_work(rows, 1)
        # It gives way to requests.
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(os.PRIO_PROCESS, server)
        os.kill(worker, signal.SIGKILL)
        another = await worker_of(server, worker)
        made = await upload(api, deals_csv(tmp_path / "deals.csv", 50))
        assert (await wait_finished(api, made))["inserted"] == 50
    await is_gone(another)


@pytest.mark.slow
async def test_the_demo_imports_too(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    arguments = ["demo", "--port", str(port), "--rows", "20"]
    with started(arguments, environment, tmp_path / "log") as demo:
        async with patient_client(url_of(port)) as client:

            async def answers() -> bool:
                with suppress(httpx.TransportError):
                    return (await client.get("/health")).status_code == 200
                return False

            await wait_for(answers, "it answers")
            made = await upload(client, deals_csv(tmp_path / "deals.csv", 50))
            assert (await wait_finished(client, made))["rows_read"] == 50
        worker = await worker_of(demo.pid)
        demo.kill()
        demo.wait()
        await is_gone(worker)

    async def nothing_is_left() -> bool:
        return not processes_of(tmp_path / "data")

    await wait_for(nothing_is_left, "the database stops, too")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, "DATABASE_URL"),
        ({"UPLOADS_URL": "ftp://u:s3cret@h/d"}, "UPLOADS_URL"),
        ({"UPLOADS_URL": "s3://bucket", "AWS_ENDPOINT_URL": "s3cret"}, "AWS_ENDPOINT_URL"),
        ({"WORKER_HEARTBEAT": "0"}, "WORKER_HEARTBEAT"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
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
