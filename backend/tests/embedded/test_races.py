"""Many processes at once: none fails, none waits for ever, nothing is left."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.embedded.embedded_users import (
    OPTIONS,
    UserProcess,
    fetch_value,
    no_process_left,
    postmaster_of,
    supervisors_of,
    user_processes,
)
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for_sync

from app.embedded.server import embedded_postgres

pytestmark = pytest.mark.integration

_START_REPEATEDLY = """
import os, pathlib, random, sys, time
import psycopg2
from app.embedded.server import embedded_postgres
folder, rounds = pathlib.Path(os.environ["FOLDER"]), int(os.environ["ROUNDS"])
for _ in range(rounds):
    with embedded_postgres(folder, options={"fsync": "off"}) as server:
        connection = psycopg2.connect(
            host=str(server.socket_dir), port=5432, user="deals", dbname="deals"
        )
        connection.cursor().execute("SELECT 1")
        connection.close()
    time.sleep(random.choice([0, 0, 0.005, 0.02, 0.05]))
"""


def start_repeatedly(folder: Path, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _START_REPEATEDLY],
        env=os.environ | {"FOLDER": str(folder), "ROUNDS": str(rounds)},
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_concurrent_start_three_processes_share_one_server(tmp_path: Path) -> None:
    await assert_one_server_is_shared(tmp_path, 3)


@pytest.mark.slow
async def test_concurrent_start_eight_processes_share_one_server(tmp_path: Path) -> None:
    await assert_one_server_is_shared(tmp_path, 8)


async def assert_one_server_is_shared(folder: Path, count: int) -> None:
    with user_processes(folder, count) as processes:
        assert len(supervisors_of(folder)) == 1
        log = (folder / "postgres/log/postgresql.log").read_text()
        assert log.count("starting PostgreSQL") == 1
        for user in processes:
            user.release()
    assert no_process_left(folder)


@pytest.mark.slow
def test_repeated_start_in_parallel_never_fails(tmp_path: Path) -> None:
    processes = [start_repeatedly(tmp_path, rounds=12) for _ in range(4)]
    failures = [process.communicate(timeout=120)[1] for process in processes]
    assert failures == [""] * len(processes)
    assert no_process_left(tmp_path)


@pytest.mark.slow
def test_repeated_start_among_killed_processes_never_fails(tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311 - a repeatable choice, not a secret
    processes = [start_repeatedly(tmp_path, rounds=25) for _ in range(2)]
    victims = 0
    while any(process.poll() is None for process in processes):
        victim = UserProcess(tmp_path)
        time.sleep(chance.uniform(0.05, 0.4))  # at any point of its start, its stay or its end
        if chance.random() < 0.3:
            for pid in supervisors_of(tmp_path):
                # The process may have ended since the search.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        victim.kill(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        victim.close()
        victims += 1
    failures = [process.communicate(timeout=TIMEOUT)[1] for process in processes]
    assert failures == [""] * len(processes)
    assert victims > 1
    with embedded_postgres(tmp_path):
        pass
    assert no_process_left(tmp_path)


@pytest.mark.slow
async def test_start_during_shutdown_succeeds(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path, options=OPTIONS):
        pass
    for _ in range(5):
        with user_processes(tmp_path, 1) as (last,):
            pipe = last.process.stdin
            assert pipe is not None
            pipe.close()  # the process begins to leave, and the test does not wait for it
            with embedded_postgres(tmp_path, options=OPTIONS) as server:
                assert await fetch_value(server, "SELECT 1") == 1
            assert last.process.wait(TIMEOUT) == 0
    assert no_process_left(tmp_path)


@pytest.mark.slow
async def test_shutdown_killed_process_leaves_no_server(tmp_path: Path) -> None:
    with user_processes(tmp_path, 1) as (user,):
        pipe = user.process.stdin
        assert pipe is not None
        pipe.close()
        wait_for_sync(
            lambda: "stopping" in (tmp_path / "postgres/supervisor.lock").read_text(),
            "the supervisor stops",
            interval=0.01,
        )
        user.kill()
        with embedded_postgres(tmp_path, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1
    assert no_process_left(tmp_path)


@pytest.mark.parametrize(
    "point",
    [
        "base/1",
        *(pytest.param(point, marks=pytest.mark.slow) for point in ("", "PG_VERSION", "base/5")),
    ],
)
async def test_start_killed_in_initdb_succeeds_next_time(tmp_path: Path, point: str) -> None:
    draft = tmp_path / "postgres/data.new" / point
    with user_processes(tmp_path, 1, wait=False) as (user,):
        wait_for_sync(
            lambda: draft.exists() or user.process.poll() is not None,
            f"{point} is created",
            interval=0.01,
        )
        user.kill()
    with embedded_postgres(tmp_path, options=OPTIONS) as server:
        assert await fetch_value(server, "SELECT 1") == 1
    assert not (tmp_path / "postgres/data.new").exists()
    assert not postmaster_of(tmp_path)
    assert no_process_left(tmp_path)
