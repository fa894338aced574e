"""Graceful shutdown while clients follow an import."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.csv_files import row
from tests.support.database_faults import wait_for_rows
from tests.support.imports import submit
from tests.support.listeners import LISTENING, NO_LISTENERS
from tests.support.local_servers import local_server
from tests.support.servers import (
    answers,
    free_port,
    patient_client,
    running_server,
    wait_until_it_answers,
)
from tests.support.timeouts import LONG_TIMEOUTS_ENV, TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.db.session import Database
from app.http.graceful_shutdown import ShutdownHooks, SignalRelay, on_server_stop

pytestmark = pytest.mark.integration

# The seconds after which uvicorn cuts off streams. No test waits that long.
GRACE_SECONDS = 2 * int(TIMEOUT)


@pytest.fixture
async def server(
    database_url: str, tmp_path: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Start a real server without a worker, so that imports stay queued."""
    port = free_port()
    log = (tmp_path / "log").open("wb")
    environment = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(tmp_path / "data"),
    } | LONG_TIMEOUTS_ENV
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--factory", "app.main:app_from_environment"),
        *("--port", str(port), "--timeout-graceful-shutdown", str(GRACE_SECONDS)),
        env=environment,
        stdout=log,
        stderr=log,
    )
    try:
        await wait_until_it_answers(port)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        log.close()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
async def test_shutdown_open_event_streams_end_at_once(
    server: tuple[asyncio.subprocess.Process, str], number: signal.Signals
) -> None:
    process, url = server
    async with patient_client(url) as client:
        made = await submit(client, [row(1)])
        async with (
            client.stream("GET", made["links"]["events"]) as one,
            client.stream("GET", made["links"]["events"]) as two,
        ):
            streams = [one.aiter_lines(), two.aiter_lines()]
            for stream in streams:
                assert (await anext(stream)).startswith('data: {"id":')
            process.send_signal(number)
            async with asyncio.timeout(TIMEOUT):
                # The stream ends properly and is not cut off.
                rest = [[line async for line in stream] for stream in streams]
                await process.wait()

    assert rest == [[""], [""]]
    assert process.returncode in {0, -number}


async def test_event_stream_client_disconnects_ends_listen(
    own_settings: Settings, database: Database
) -> None:
    async with local_server(own_settings) as server, server.client() as client:
        made = await submit(client, [row(1)])
        async with client.stream("GET", made["links"]["events"]) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            await wait_for_rows(database, LISTENING)
        await wait_for_rows(database, NO_LISTENERS)
        assert (await client.head(made["links"]["events"])).status_code == 200
        await wait_for_rows(database, NO_LISTENERS)


async def test_on_server_stop_without_uvicorn_keeps_signal_handlers() -> None:
    """Without a handler of a server, the signals do not belong to the application."""
    handler_of_runner = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with on_server_stop(ShutdownHooks(begin=lambda: None, end=lambda: None)):
            during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    finally:
        signal.signal(signal.SIGTERM, handler_of_runner)

    assert during == before


async def test_shutdown_drain_delay_readiness_returns_503_first(
    database_url: str, tmp_path: Path
) -> None:
    """During the delay the server still answers, and closes each connection after its response."""
    async with (
        running_server(database_url, tmp_path, DRAIN_DELAY="300") as server,
        server.client() as client,
    ):
        assert (await client.get("/health/ready")).status_code == 200
        os.kill(server.pid, signal.SIGTERM)

        async def is_unready() -> bool:
            return (await client.get("/health/ready")).status_code == 503

        await wait_for(is_unready, "readiness goes down")
        answer = await client.get("/deals")
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert (await client.get("/health/live")).status_code == 200
        # Another signal ends the delay.
        os.kill(server.pid, signal.SIGTERM)

        async def is_stopped() -> bool:
            return not await answers(server.port)

        await wait_for(is_stopped, "the server stops")


async def test_shutdown_second_signal_ends_drain_delay() -> None:
    """For uvicorn a third signal would mean to cut off requests in flight."""
    loop = asyncio.get_running_loop()
    events: list[str] = []
    over = asyncio.Event()
    hooks = ShutdownHooks(lambda: events.append("begin"), lambda: events.append("end"), delay=0.01)
    before = signal.signal(signal.SIGUSR1, lambda *_: events.append("server"))
    relay = SignalRelay(loop, hooks)
    try:
        assert relay.listen(signal.SIGUSR1)
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
        loop.call_later(0.05, over.set)
        await over.wait()
        relay.stop()
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert events == ["begin", "begin", "end", "server", "server"]
