"""The service as an operator starts it, in a process of its own."""

import asyncio
import itertools
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from tests.support.environment import inherited
from tests.support.timeouts import LONG_TIMEOUTS_ENV, TIMEOUT
from tests.support.waiting import wait_for

DEALS = Path(sys.executable).with_name("deals")
# Below those that clients get by themselves (from 32768 on Linux); each process begins elsewhere.
_PORTS = itertools.count(10_000 + secrets.randbelow(20_000))
# For those who ask again and again: each client would read all the certificates there are.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class RunningServer:
    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return url_of(self.port)

    def client(self) -> httpx.AsyncClient:
        return patient_client(self.url)


def running_server(
    database_url: str, folder: Path, *options: str, **environment: str
) -> AbstractAsyncContextManager[RunningServer]:
    """`deals serve` on a free port, answering; stopped at the end of the block."""
    return running_server_at(free_port(), database_url, folder, *options, **environment)


def running_server_at(
    port: int, database_url: str, folder: Path, *options: str, **environment: str
) -> AbstractAsyncContextManager[RunningServer]:
    """The same on this port."""
    command = (str(DEALS), "serve", "--port", str(port), *options)
    return _running(command, port, database_url, folder, environment)


def plain_uvicorn(
    database_url: str, folder: Path, **environment: str
) -> AbstractAsyncContextManager[RunningServer]:
    """The application under uvicorn's own command, with its protocol and its sockets."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "--factory", "app.main:app_from_environment")
    return _running((*command, "--port", str(port)), port, database_url, folder, environment)


@asynccontextmanager
async def _running(
    command: Sequence[str],
    port: int,
    database_url: str,
    folder: Path,
    environment: Mapping[str, str],
) -> AsyncIterator[RunningServer]:
    path = folder / "log"
    settings = {
        **inherited(),
        "PATH": str(DEALS.parent),
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder / "data"),
        **LONG_TIMEOUTS_ENV,
        **environment,
    }
    with path.open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *command, env=settings, stdout=log, stderr=log
        )
        try:
            await wait_until_it_answers(port)
            yield RunningServer(port, server.pid, path)
        finally:
            # A test may have ended it already.
            with suppress(ProcessLookupError):
                server.terminate()
            await server.wait()


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def patient_client(url: str) -> httpx.AsyncClient:
    """A client for a server of the tests."""
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT, verify=NO_CERTIFICATES)


def free_port() -> int:
    """A port that was free a moment ago, and that nobody else is likely to be given."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            break
    return port


async def wait_until_it_answers(port: int) -> None:
    await wait_for(lambda: answers(port), f"the server at port {port} is healthy")


async def answers(port: int) -> bool:
    try:
        async with patient_client(url_of(port)) as client:
            return (await client.get("/health")).status_code == 200
    except httpx.TransportError:
        return False
