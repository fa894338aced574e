"""The service as an operator starts it, as a process."""

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
# Below the kernel's own client ports, from 32768 on Linux. Each process starts at another one.
_PORTS = itertools.count(10_000 + secrets.randbelow(20_000))
# Share one TLS context, because each new client would read all certificates.
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
    """Run `deals serve` on a free port, and stop it at the end of the block."""
    return running_server_at(free_port(), database_url, folder, *options, **environment)


def running_server_at(
    port: int, database_url: str, folder: Path, *options: str, **environment: str
) -> AbstractAsyncContextManager[RunningServer]:
    """Run `deals serve` on this port, and stop it at the end of the block."""
    command = (str(DEALS), "serve", "--port", str(port), *options)
    return _running(command, port, database_url, folder, environment)


def plain_uvicorn(
    database_url: str, folder: Path, **environment: str
) -> AbstractAsyncContextManager[RunningServer]:
    """Run the application by uvicorn's own command, with its protocol and its sockets."""
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
            # The test may have ended the process already.
            with suppress(ProcessLookupError):
                server.terminate()
            await server.wait()


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def patient_client(url: str) -> httpx.AsyncClient:
    """Return a client with long timeouts."""
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT, verify=NO_CERTIFICATES)


def free_port() -> int:
    """Return a port that was free a moment ago and is unlikely to be taken."""
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
