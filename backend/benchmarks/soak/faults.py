"""The faults of the soak test."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg

from benchmarks.api import processes
from benchmarks.api.errors import BenchmarkError

_HANG_SECONDS = 5.0
_FULL_SECONDS = 5.0
_DISK = "4m"


class Faults:
    """Faults of the database at `dsn`, of the server and its worker, and of the uploads' disk."""

    def __init__(self, dsn: str, server: int, disk: Path | None) -> None:
        self._dsn = dsn
        self._server = server
        self._disk = disk

    def all(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return the faults that this machine allows, with their names."""
        found: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("connections terminated", self._terminate),
            ("database restarted", self._restart),
            ("worker killed", self._kill_worker),
            ("database hanging", self._hang),
        ]
        return [*found, ("disk full", self._fill)] if self._disk else found

    async def _pids(self) -> list[int]:
        connection = await asyncpg.connect(self._dsn)
        try:
            rows = await connection.fetch(
                "SELECT pid FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return [row["pid"] for row in rows]
        finally:
            await connection.close()

    async def _postmaster(self) -> int:
        connection = await asyncpg.connect(self._dsn)
        try:
            found = processes.parent(await connection.fetchval("SELECT pg_backend_pid()"))
        finally:
            await connection.close()
        if found is None:
            raise BenchmarkError("this system has no /proc with information about processes")
        return found

    async def _terminate(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()

    async def _restart(self) -> None:
        # The supervisor restarts the database.
        os.kill(await self._postmaster(), signal.SIGINT)

    async def _hang(self) -> None:
        pids = [*await self._pids(), await self._postmaster()]
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_HANG_SECONDS)
        finally:
            for pid in pids:
                _send(pid, signal.SIGCONT)

    async def _kill_worker(self) -> None:
        for pid in _workers(self._server):
            _send(pid, signal.SIGKILL)

    async def _fill(self) -> None:
        assert self._disk is not None  # noqa: S101 - see `all`
        file = self._disk / "other-peoples-data"
        try:
            with file.open("wb") as full:
                try:
                    while True:
                        full.write(b"x" * 65536)
                except OSError:
                    pass
            await asyncio.sleep(_FULL_SECONDS)
        finally:
            file.unlink()


def _workers(server: int) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        # A process may end while its files are read.
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if processes.parent(pid) == server and b"spawn_main" in command:
                yield pid


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small disk at `folder` and yield the folder, or yield None without the rights."""
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["/bin/mount", *options], check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        if subprocess.run(["/bin/umount", "--lazy", str(folder)], check=False).returncode:
            raise BenchmarkError(f"{folder} stays mounted")
