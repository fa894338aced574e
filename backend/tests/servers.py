"""The service as an operator starts it, in a process of its own."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

DEALS = Path(sys.executable).with_name("deals")
# For those who ask again and again: each client would read all the certificates there are.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class RunningServer:
    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def running_server(
    database_url: str, folder: Path, *options: str, **environment: str
) -> AbstractAsyncContextManager[RunningServer]:
    """`deals serve` on a free port, answering; stopped at the end of the block."""
    return running_server_at(free_port(), database_url, folder, *options, **environment)


@asynccontextmanager
async def running_server_at(
    port: int, database_url: str, folder: Path, *options: str, **environment: str
) -> AsyncIterator[RunningServer]:
    """The same on this port."""
    path = folder / "log"
    settings = {
        "PATH": str(DEALS.parent),
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder / "data"),
        **environment,
    }
    with path.open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            DEALS, "serve", "--port", str(port), *options, env=settings, stdout=log, stderr=log
        )
        try:
            await wait_until_it_answers(port)
            yield RunningServer(port, server.pid, path)
        finally:
            # A test may have ended it already.
            with suppress(ProcessLookupError):
                server.terminate()
            await server.wait()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_until_it_answers(port: int) -> None:
    async with asyncio.timeout(60):
        while not await answers(port):  # noqa: ASYNC110 - another process has no event here
            await asyncio.sleep(0.05)


async def answers(port: int) -> bool:
    try:
        async with httpx.AsyncClient(verify=NO_CERTIFICATES) as client:
            return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
    except httpx.TransportError:
        return False
