"""Workers, as processes or as tasks of the test, and the imports they run."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.support.environment import inherited
from tests.support.servers import DEALS
from tests.support.timeouts import LONG_TIMEOUTS_ENV, TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.ingestion.generator import generate
from app.jobs.worker import WorkerOptions, work
from app.services.loading import CHUNK_ROWS

# Seconds between two heartbeats of a worker under test. It counts as dead after three of them.
HEARTBEAT = 1.0

# Seconds that a stopping worker gets to end its import, and its pause before a reconnect.
GRACE = 1.0
_PAUSE = 0.05
# `deals worker` with small chunks, which gives many moments to kill it at.
_SMALL_CHUNKS = f"""
import sys
from app.core.config import load_settings
from app.jobs.process import run_worker
from app.jobs.worker import WorkerOptions
from app.observability.logging import configure_logging
settings = load_settings()
configure_logging(settings)
run_worker(settings, WorkerOptions(grace_seconds={GRACE}, chunk_rows=int(sys.argv[1])))
"""

Import = dict[str, Any]


class Workers:
    """Worker processes on one database and one folder."""

    def __init__(self, url: str, folder: Path) -> None:
        # The test's folder takes the leftovers of a killed worker.
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self._environment = {
            **inherited(),
            "TMPDIR": str(temporary),
            **LONG_TIMEOUTS_ENV,
            "DATABASE_URL": url,
            "DATA_DIR": str(folder / "data"),
            "WORKER_HEARTBEAT": str(HEARTBEAT),
            "LOG_FORMAT": "json",
        }
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self, *, chunk_rows: int | None = None, prefix: Sequence[str] = (), **variables: str
    ) -> subprocess.Popen[bytes]:
        """Start `deals worker`. `prefix` is a command that runs it."""
        command = [str(DEALS), "worker"]
        if chunk_rows is not None:
            command = [sys.executable, "-c", _SMALL_CHUNKS, str(chunk_rows)]
        with self.log(len(self._started)).open("wb") as log:
            process = subprocess.Popen(
                [*prefix, *command],
                env={**self._environment, **variables},
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def running(self) -> list[subprocess.Popen[bytes]]:
        """Return the processes that still run."""
        return [process for process in self._started if process.poll() is None]

    def log(self, number: int) -> Path:
        """Return the log of the worker that started as number `number`, from 0."""
        return self._folder / f"worker-{number}.log"

    def logs(self) -> str:
        """Return the logs of all workers."""
        return "".join(self.log(n).read_text() for n in range(len(self._started)))

    def end(self) -> None:
        """Kill all workers, and check their logs for unhandled and unexpected errors."""
        for process in self._started:
            process.kill()
            process.wait()
        assert not any(line.startswith("Traceback") for line in self.logs().splitlines())
        failed = re.findall(r"[^\n]*has failed[^\n]*", self.logs())
        assert not failed, "\n".join(failed)[-3000:]


class LocalWorker:
    """A worker that is a task of the test. Tests of death and signals need a process."""

    def __init__(self, settings: Settings, options: WorkerOptions) -> None:
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(work(settings, self._stop, options))

    @property
    def runs(self) -> bool:
        return not self._running.done()

    async def stop(self) -> None:
        """Stop the worker as a signal does, and wait for its end."""
        self._stop.set()
        await self._running


class LocalWorkers:
    """Workers as tasks of the test, which all stop in the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started: list[LocalWorker] = []

    def start(
        self,
        *,
        heartbeat: float = TIMEOUT,
        grace_seconds: float = GRACE,
        chunk_rows: int = CHUNK_ROWS,
    ) -> LocalWorker:
        """Start a worker that takes no other for dead, unless its heartbeat is short."""
        worker = LocalWorker(
            self._settings.model_copy(update={"worker_heartbeat": heartbeat}),
            WorkerOptions(
                grace_seconds=grace_seconds,
                pause_seconds=_PAUSE,
                niceness=0,
                chunk_rows=chunk_rows,
            ),
        )
        self._started.append(worker)
        return worker

    async def end(self) -> None:
        for worker in self._started:
            await worker.stop()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Stop the process, and return its exit status."""
    process.send_signal(number)
    return await asyncio.to_thread(process.wait, TIMEOUT)


def deals_csv(path: Path, rows: int, seed: int = 7) -> Path:
    generate(path, rows=rows, seed=seed)
    return path


async def upload(client: httpx.AsyncClient, path: Path, **options: bool) -> Import:
    """Upload a file, and return the import of the response."""
    response = await client.post(
        "/imports",
        content=await asyncio.to_thread(path.read_bytes),
        headers={"Content-Type": "text/csv"},
        params={name: str(value).lower() for name, value in options.items()},
        timeout=TIMEOUT,
    )
    assert response.status_code == 202, response.text
    made: Import = response.json()
    return made


async def get_import(client: httpx.AsyncClient, made: Import) -> Import:
    """Return the import as soon as the database answers, and check that its counters add up."""

    async def answer() -> httpx.Response | None:
        response = await client.get(made["links"]["self"])
        return response if response.status_code == 200 else None

    response = await wait_for(answer, f"import {made['id']} is found")
    found: Import = response.json()
    kinds = ("inserted", "updated", "unchanged", "duplicates", "rejected", "held_back")
    assert sum(found[kind] for kind in kinds) == found["rows_read"]
    return found


async def wait_finished(
    client: httpx.AsyncClient, made: Import, state: str = "succeeded"
) -> Import:
    """Wait for the end of the import, return it, and check that its events report the end."""

    async def has_ended() -> Import | None:
        found = await get_import(client, made)
        return found if found["finished_at"] else None

    found = await wait_for(has_ended, f"import {made['id']} ends")
    assert found["state"] == state, found
    return found


async def wait_rows(client: httpx.AsyncClient, made: Import, rows: int) -> Import:
    """Wait until so many rows of the import are read, and return it."""

    async def is_there() -> Import | None:
        found = await get_import(client, made)
        return found if found["rows_read"] >= rows else None

    return await wait_for(is_there, f"{rows} rows of import {made['id']}")


class Rows:
    """Queries on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")

    async def __call__(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *parameters)]
        finally:
            await connection.close()

    async def one(self, statement: str, *parameters: Any) -> Any:
        ((value,),) = await self(statement, *parameters)
        return value


EVENTS = """
SELECT count(*) FROM procrastinate_events JOIN procrastinate_jobs ON job_id = procrastinate_jobs.id
WHERE type = $1 AND task_name = 'load_import'
"""
JOBS = "SELECT status::text FROM procrastinate_jobs WHERE task_name = 'load_import' ORDER BY id"
CHUNKS = "SELECT array_agg(number ORDER BY number) FROM import_chunks WHERE import_id = $1"
ATTEMPTS = "SELECT attempt FROM imports WHERE id = $1"
