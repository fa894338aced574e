"""The service on a real socket, served by a thread of the tests' process.

It starts in a few hundredths of a second, and a process takes a second or two. Tests of signals,
memory and death need a process: see `tests.support.servers`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from tests.support.servers import patient_client, url_of
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.main import create_app
from app.server.bounded_head import bounded_head
from app.server.runner import uvicorn_config


@dataclass(frozen=True)
class LocalServer:
    """A running server and its application."""

    app: FastAPI
    port: int

    @property
    def url(self) -> str:
        return url_of(self.port)

    def client(self) -> httpx.AsyncClient:
        return patient_client(self.url)


@asynccontextmanager
async def local_server(
    settings: Settings,
    *,
    send_buffer: int | None = None,
    wait_for_data: bool = False,
    **options: Any,
) -> AsyncIterator[LocalServer]:
    """Serve on a free port as `deals serve` does, with its protocol and its event loop.

    `send_buffer` is the size of each connection's buffer in the kernel, in bytes. With
    `wait_for_data` the server accepts a connection when its first bytes arrive. `options` are
    uvicorn's.
    """
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # Accepted connections inherit the option from this socket.
        if send_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if wait_for_data:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(TIMEOUT))
        http = bounded_head(settings.request_arrival_timeout)
        async with serve_in_thread(uvicorn_config(app, http=http, **options), listening):
            yield LocalServer(app, listening.getsockname()[1])


@asynccontextmanager
async def serve_in_thread(config: uvicorn.Config, listening: socket.socket) -> AsyncIterator[None]:
    """Run uvicorn in a thread, and stop it at the end of the block."""
    server = uvicorn.Server(config)
    running = asyncio.create_task(asyncio.to_thread(server.run, [listening]))
    try:
        await _wait_until_started(server, running)
        yield
    finally:
        server.should_exit = True
        await running


async def _wait_until_started(server: uvicorn.Server, running: asyncio.Task[None]) -> None:
    await wait_for(lambda: server.started or running.done(), "uvicorn starts")
    assert not running.done(), "the server has not started"
