"""Processes that use an embedded PostgreSQL, and their leftovers."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import asyncpg
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for

from app.embedded.server import EmbeddedServer

# Shared memory is in the data folder, because a killed server leaves its segments in /dev/shm.
OPTIONS = {"fsync": "off", "dynamic_shared_memory_type": "mmap"}

# The environment carries the folder, so a search of command lines finds only servers.
_USER = f"""
import os, pathlib, signal, sys
from app.embedded.server import embedded_postgres
from app.core.errors import EmbeddedPostgresError
# A test run in the background has its children ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with embedded_postgres(pathlib.Path(os.environ["FOLDER"]), options={OPTIONS}) as server:
        print(server.url(), flush=True)
        sys.stdin.read()
except EmbeddedPostgresError as error:
    sys.exit(str(error))
"""


class UserProcess:
    """A process that uses the server of a folder until it is released or killed."""

    def __init__(self, folder: Path, script: str = _USER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"FOLDER": str(folder)},
        )

    def wait_for_url(self) -> str:
        output = self._pipe(self.process.stdout)
        assert select.select([output], [], [], TIMEOUT)[0], "the process got no server in time"
        url = output.readline().strip()
        assert url, "the process failed; see stderr"
        return url

    def release(self) -> None:
        self._pipe(self.process.stdin).close()
        assert self.process.wait(TIMEOUT) == 0

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(TIMEOUT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout):
            self._pipe(pipe).close()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@contextmanager
def user_processes(folder: Path, count: int, *, wait: bool = True) -> Iterator[list[UserProcess]]:
    """Start processes that use the server, and kill the remaining ones at the end."""
    processes = [UserProcess(folder) for _ in range(count)]
    try:
        for process in processes if wait else []:
            process.wait_for_url()
        yield processes
    finally:
        for process in processes:
            process.close()


def processes_of(folder: Path) -> dict[int, str]:
    """Return every other process that names the folder in its command line or works inside it."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        command, cwd = b"", Path()
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes()
        with suppress(OSError):
            cwd = (entry / "cwd").readlink()
        if entry.name == str(os.getpid()):
            continue
        if os.fsencode(folder) in command or cwd.is_relative_to(folder):
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def supervisors_of(folder: Path) -> list[int]:
    return [pid for pid, command in processes_of(folder).items() if "supervisor.py" in command]


def postmaster_of(folder: Path) -> int:
    """Return the process id that PostgreSQL has recorded, or 0 before it has one."""
    try:
        return int((folder / "postgres/data/postmaster.pid").read_text().splitlines()[0])
    except (OSError, IndexError, ValueError):
        return 0


def no_process_left(folder: Path) -> bool:
    return not processes_of(folder)


async def fetch_value(server_or_url: EmbeddedServer | str, statement: str) -> Any:
    """Return one value, read over a new connection."""
    url = server_or_url if isinstance(server_or_url, str) else server_or_url.url()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=TIMEOUT)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def accepts_queries(server_or_url: EmbeddedServer | str) -> bool:
    with suppress(OSError, asyncpg.PostgresError):
        return bool(await fetch_value(server_or_url, "SELECT 1"))
    return False


async def wait_until_accepts_queries(server_or_url: EmbeddedServer | str) -> None:
    await wait_for(lambda: accepts_queries(server_or_url), "the server accepts queries")
