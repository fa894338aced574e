"""Leftovers of a test run on the machine: processes, files, databases."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url
from tests.support.databases import dsn

_PROC = Path("/proc")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only listed
# A stopping server writes its last pages first.
_PATIENCE = 30.0
# The leftovers of a run after its end.
LEFT_BEHIND = pytest.StashKey[list[str]]()


def of_run(folder: Path, tmp: Path, run: str) -> list[str]:
    """Return a line for each leftover that is still there after a while."""
    found = _after_a_while(lambda: _processes(folder))
    # uv keeps its lock files.
    files = set(tmp.iterdir()) - set(tmp.glob("uv-*.lock"))
    found += [f"file {path}" for path in sorted(files)]
    server = os.environ.get("TEST_DATABASE_URL")
    if server:
        found += [f"database {name}" for name in asyncio.run(_databases(server, run))]
    return found


def shared_memory() -> set[Path]:
    """Return PostgreSQL's shared memory segments, of all servers of the machine."""
    return set(_SHARED_MEMORY.glob("PostgreSQL.*"))


def unused_segments(segments: Iterable[Path]) -> list[Path]:
    """Return the segments that no process has mapped. Their servers were killed."""
    maps = b"".join(_read(number, "maps") for number in _numbers())
    return [path for path in sorted(segments) if path.exists() and path.name.encode() not in maps]


def _after_a_while(look: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + _PATIENCE
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _processes(folder: Path) -> list[str]:
    """Return the processes with the folder in their command lines or environments."""
    mark = os.fsencode(folder)
    return [
        f"process {number}: {_read(number, 'cmdline').replace(bytes(1), b' ').decode()}"
        for number in _numbers()
        if mark in _read(number, "cmdline") + _read(number, "environ")
    ]


def _numbers() -> list[int]:
    own = os.getpid()
    numbers = [int(path.name) for path in _PROC.glob("[0-9]*")]
    return [number for number in numbers if number != own]


def _read(number: int, name: str) -> bytes:
    """Return a file of a process. It is empty if the process has ended or has another user."""
    try:
        return (_PROC / str(number) / name).read_bytes()
    except OSError:
        return b""


async def _databases(server: str, run: str) -> list[str]:
    """Drop the run's template, which all workers share, and return its other databases."""
    connection = await asyncpg.connect(dsn(make_url(server)))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "template_{run}" WITH (FORCE)')
        names = await connection.fetch(
            "SELECT datname FROM pg_database WHERE datname LIKE $1 ORDER BY datname", f"%{run}%"
        )
    finally:
        await connection.close()
    return [name["datname"] for name in names]
