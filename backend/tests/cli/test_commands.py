"""The `deals` command as its users run it, in a folder of their own.

Usage, settings and exit statuses are tested within the process of the tests; signals, the demo and
the embedded database with real processes.
"""

import gzip
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import httpx
import pytest
from tests.support.commands import Command, Ended, in_process
from tests.support.environment import inherited
from tests.support.servers import NO_CERTIFICATES, free_port
from tests.support.timeouts import LONG_TIMEOUTS_ENV, TIMEOUT
from tests.support.waiting import wait_for_sync

from app.cli.main import Later
from app.cli.main import app as commands
from app.ingestion.generator import generate

pytestmark = pytest.mark.integration

DEALS = str(Path(sys.executable).with_name("deals"))

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **inherited(),
        **LONG_TIMEOUTS_ENV,
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": "",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DEALS, *arguments],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    return run


@pytest.fixture
def invoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command within this process."""
    return in_process(tmp_path, capsys)


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that name the folder; there should be none in the end."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def get(url: str) -> httpx.Response:
    return httpx.get(url, verify=NO_CERTIFICATES, timeout=TIMEOUT)


def answers(url: str) -> bool:
    try:
        return get(url).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def started(
    arguments: list[str], environment: dict[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [DEALS, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_demo_does_the_whole_job_and_leaves_nothing_running(
    environment: dict[str, str], tmp_path: Path, stop: signal.Signals
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    for expected in ("700 inserted", "700 deals are loaded already"):
        log = tmp_path / "log"
        with (
            log.open("wb") as output,
            started(["demo", "--port", str(port), "--rows", "700"], environment, output) as demo,
        ):
            wait_for_sync(lambda: answers(f"{base}/health"), "healthy")
            assert get(f"{base}/health").json() == {"status": "ok"}
            assert get(f"{base}/deals").json()["total"] == 700
            demo.send_signal(stop)
            assert demo.wait(TIMEOUT) == 0
        assert expected in log.read_text()
        assert f"{base}/docs" in log.read_text()
        assert "Traceback" not in log.read_text()
        assert processes_of(tmp_path / "data") == []


@pytest.mark.slow
def test_interrupting_the_demo_early_leaves_nothing_running(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (
        (tmp_path / "log").open("wb") as output,
        started(["demo", "--port", str(free_port())], environment, output) as demo,
    ):
        wait_for_sync(lambda: bool(processes_of(tmp_path / "data")), "the database starts")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(TIMEOUT) == 130
    assert "Traceback" not in (tmp_path / "log").read_text()
    wait_for_sync(lambda: not processes_of(tmp_path / "data"), "all gone")


@pytest.mark.slow
def test_serve_with_two_workers_migrates_and_answers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    with (
        (tmp_path / "log").open("wb") as output,
        started(["serve", "--port", str(port), "--workers", "2"], environment, output) as serve,
    ):
        wait_for_sync(lambda: answers(f"http://127.0.0.1:{port}/health"), "healthy")
        page = get(f"http://127.0.0.1:{port}/deals").json()
        assert (page["items"], page["total"]) == ([], 0)
        # Over a real connection: the server must not wait for a body that HEAD does not send.
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


def test_a_taken_port_is_one_line(invoke: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in ("demo", "serve"):
            result = invoke(command, "--port", str(port))
            assert result.returncode == 3
            assert result.stderr.startswith(f"deals: cannot listen on 127.0.0.1:{port}")
            assert result.stderr.count("\n") == 1


def test_generate_load_load_again_and_verify(
    invoke: Command, database_url: str, tmp_path: Path
) -> None:
    _load_twice(partial(invoke, DATABASE_URL=database_url), tmp_path)


@pytest.mark.slow
def test_commands_one_after_the_other_share_an_embedded_database(run: Run, tmp_path: Path) -> None:
    _load_twice(run, tmp_path)
    assert processes_of(tmp_path / "data") == []


def _load_twice(run: Command | Run, folder: Path) -> None:
    assert run("generate", "--rows", "300", "--seed", "5", "--out", "deals.csv").returncode == 0

    first = run("load", "deals.csv", "--json")
    again = run("load", "deals.csv")
    verified = run("verify")

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["inserted"] == 300
    assert again.returncode == 0
    assert "0 inserted, 0 updated, 300 unchanged, 0 duplicates, 0 rejected" in again.stdout
    assert (verified.returncode, verified.stdout) == (0, "every derived number is right\n")
    assert not (folder / "deals.csv.rejects.csv").exists()


def test_rejected_rows_make_exit_status_1(
    invoke: Command, database_url: str, tmp_path: Path
) -> None:
    generate(tmp_path / "deals.csv.gz", rows=20, seed=5)
    header, first, *rest = gzip.decompress((tmp_path / "deals.csv.gz").read_bytes()).splitlines()
    bad = b",".join([b"x", *first.split(b",")[1:]])
    (tmp_path / "bad.csv").write_bytes(b"\n".join([header, bad, *rest]))

    strict = invoke("load", "bad.csv", "--strict", "--json", DATABASE_URL=database_url)
    lenient = invoke("load", "bad.csv", "--json", "--rejects", "out.csv", DATABASE_URL=database_url)

    assert strict.returncode == lenient.returncode == 1
    assert json.loads(strict.stdout)["inserted"] == 0
    assert json.loads(lenient.stdout)["inserted"] == 19
    assert json.loads(lenient.stdout)["rejected"] == 1
    assert b"2,id,not_an_integer" in (tmp_path / "out.csv").read_bytes()
    assert b"2,id,not_an_integer" in (tmp_path / "bad.csv.rejects.csv").read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"id,hotel_name\n1,x\n", b"\x00\x01\xff" * 100])
def test_a_refused_file_is_one_line_and_exit_status_2(
    invoke: Command, database_url: str, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "deals.csv").write_bytes(content)

    result = invoke("load", "deals.csv", DATABASE_URL=database_url)

    assert result.returncode == 2
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("deals: ")


def test_no_database_is_one_line_and_exit_status_3(invoke: Command, tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_bytes(b"id\n")
    url = f"postgresql+asyncpg://deals@/deals?host={tmp_path}"
    for command in ("migrate", "verify"):
        result = invoke(command, DATABASE_URL=url)
        assert result.returncode == 3
        assert "deals: The database is not available" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, "DATABASE_URL"),
        ({"DB_POOL_SIZE": "many"}, "DB_POOL_SIZE"),
        ({"APP_ENV": "prod"}, "APP_ENV"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    invoke: Command, variables: dict[str, str], named: str
) -> None:
    result = invoke("migrate", **variables)

    assert result.returncode == 3
    assert result.stderr.startswith(f"deals: wrong settings: {named}")
    assert "s3cret" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["load"], ["serve", "--port", "0"], ["demo", "--rows", "x"]]
)
def test_wrong_usage_gets_help_and_not_a_traceback(invoke: Command, arguments: list[str]) -> None:
    result = invoke(*arguments)

    assert result.returncode == 2
    assert "--help" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["", *commands.commands])
def test_every_command_has_help(invoke: Command, command: str) -> None:
    result = invoke(*command.split(), "--help")

    assert result.returncode == 0
    assert f"Usage: deals {command}" in result.stdout


def test_the_installed_command_exits_as_its_function_does(run: Run) -> None:
    shown = run("verify", "--help")
    refused = run("migrate", DB_POOL_SIZE="many")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Usage: deals verify" in shown.stdout
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("deals: wrong settings: DB_POOL_SIZE")


@pytest.mark.parametrize("command", commands.commands.values(), ids=commands.commands)
def test_the_line_of_a_command_is_its_own(command: Later) -> None:
    assert command.get_short_help_str(200) == command.load().get_short_help_str(200)


def test_keys_are_made_listed_and_revoked(invoke: Command, empty_url: str) -> None:
    def keys(*arguments: str) -> Ended:
        return invoke("keys", *arguments, DATABASE_URL=empty_url)

    assert invoke("migrate", DATABASE_URL=empty_url).returncode == 0
    made = keys("create", "ci", "--scope", "deals:write", "--scope", "imports:write")
    listed = keys("list")
    revoked = keys("revoke", "ci")
    again = keys("revoke", "ci")

    assert made.returncode == 0
    assert made.stdout.startswith("hd_")
    assert made.stdout.count("\n") == 1
    assert "deals:write imports:write" in listed.stdout
    assert made.stdout.strip() not in listed.stdout
    assert revoked.stdout == "ci is revoked\n"
    assert again.returncode == 3
    assert "no key ci" in again.stderr
    assert keys("create", "x", "--scope", "root").returncode == 2


@pytest.mark.slow
def test_the_demo_leaves_what_a_user_has_loaded(
    run: Run, environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    environment["DATABASE_URL"] = database_url
    generate(tmp_path / "mine.csv", rows=5, seed=9)
    run("load", "mine.csv")
    port = free_port()
    with (
        (tmp_path / "log").open("wb") as output,
        started(["demo", "--port", str(port), "--rows", "700"], environment, output) as demo,
    ):
        wait_for_sync(lambda: answers(f"http://127.0.0.1:{port}/health"), "healthy")
        assert get(f"http://127.0.0.1:{port}/deals").json()["total"] == 5
        demo.send_signal(signal.SIGINT)
        demo.wait(TIMEOUT)


@pytest.mark.parametrize(
    "command", [["verify"], pytest.param(["keys", "list"], marks=pytest.mark.slow)]
)
def test_a_new_embedded_database_is_migrated_first(run: Run, command: list[str]) -> None:
    assert run(*command).returncode == 0


def test_an_unmigrated_database_is_one_line(
    invoke: Command, empty_url: str, tmp_path: Path
) -> None:
    generate(tmp_path / "deals.csv", rows=5, seed=5)
    for command in (["verify"], ["keys", "list"], ["load", "deals.csv"]):
        result = invoke(*command, DATABASE_URL=empty_url)
        assert result.returncode == 3, command
        assert "run `deals migrate`" in result.stderr
        assert "Traceback" not in result.stderr
