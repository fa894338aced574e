"""The measured servers, each in separate processes."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.api import processes
from benchmarks.api.database import DEALS, Database
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request, ask
from benchmarks.api.scenarios import Side

_BACKEND = Path(__file__).parents[2]
_START_LIMIT = 60.0
_STOP_LIMIT = 40.0
_POLL = 0.05
_TWINS = {"floor": "benchmarks.api.floor.app:app", "naive": "benchmarks.api.naive:app"}


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    pid: int
    log: Path

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of all its processes so far."""
        return processes.cpu_seconds(self.pid)


@contextmanager
def servers(
    sides: list[Side],
    database: Database,
    settings: Mapping[str, str],
    *,
    under: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Iterator[dict[Side, Server]]:
    """Run all servers of `sides` on the same database, with changed settings.

    `under` is a command that runs each server's command, given as its last arguments. `options` are
    further options of the server's command.
    """
    with ExitStack() as stack:
        environment = {**database.environment, **settings}
        started = {
            side: stack.enter_context(
                _process(side, environment, [*under, *_command(side), *options])
            )
            for side in sides
        }
        for side, (process, server) in started.items():
            _wait(process, server, side)
        yield {side: server for side, (_, server) in started.items()}


@contextmanager
def _process(
    side: Side, environment: Mapping[str, str], command: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], Server]]:
    port = _free_port()
    log = Path(environment["DATA_DIR"]) / f"{side}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=environment,
            cwd=_BACKEND,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process, Server(port, process.pid, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(side: Side) -> list[str]:
    """Return the command of a server.

    The service runs as a user starts it, with an access log. The others run on the same uvicorn
    without an access log.
    """
    if side == "service":
        return [str(DEALS), "serve"]
    if side == "unwatched":
        return [sys.executable, "-m", "benchmarks.api.unwatched"]
    uvicorn = [sys.executable, "-m", "uvicorn", _TWINS[side], "--loop", "uvloop"]
    return [*uvicorn, "--http", "httptools", "--no-access-log", "--no-server-header"]


def _wait(process: subprocess.Popen[bytes], server: Server, side: Side) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ask(server.port, Request("GET", "/deals?limit=1"))
        except OSError:
            time.sleep(_POLL)
        else:
            return
    raise BenchmarkError(f"the {side} does not answer: {last_words(server.log)}")


def last_words(log: Path) -> str:
    """Return the end of a server's log."""
    return log.read_text(errors="replace").strip()[-600:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
