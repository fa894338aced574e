"""ops/haproxy, with a real HAProxy before two processes of the service."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import pytest
from sqlalchemy import URL
from tests.operations.files import ROOT
from tests.routers.bodies import HOTEL
from tests.support.databases import as_text, temporary_database
from tests.support.programs import require_program
from tests.support.servers import (
    RunningServer,
    answers,
    free_port,
    patient_client,
    running_server,
    running_server_at,
    url_of,
)
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

CONFIGURATION = ROOT / "ops" / "haproxy" / "haproxy.cfg"


@dataclass(frozen=True)
class Behind:
    """A proxy's client, and the processes behind it."""

    client: httpx.AsyncClient
    servers: tuple[RunningServer, RunningServer]


@asynccontextmanager
async def _two_servers(database_url: str, folder: Path, **settings: str) -> AsyncIterator[Behind]:
    haproxy = require_program("haproxy")
    folders = [folder / "1", folder / "2"]
    for each in folders:
        each.mkdir()
    shared = {"DATA_DIR": str(folder / "data"), **settings}
    async with (
        running_server(database_url, folders[0], **shared) as one,
        running_server(database_url, folders[1], **shared) as two,
        _proxy(haproxy, folder, (one, two)) as client,
    ):
        yield Behind(client, (one, two))


@pytest.fixture
async def behind(database_url: str, tmp_path: Path) -> AsyncIterator[Behind]:
    """Two processes that a test may end."""
    async with _two_servers(database_url, tmp_path, DRAIN_DELAY="3") as behind:
        yield behind


@pytest.fixture(scope="module")
async def behind_for_all(
    server_url: URL, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Behind]:
    """Two processes that no test ends."""
    folder = tmp_path_factory.mktemp("proxy")
    async with (
        temporary_database(server_url, template) as url,
        _two_servers(as_text(url), folder) as behind,
    ):
        yield behind


@asynccontextmanager
async def _proxy(
    haproxy: str, folder: Path, servers: tuple[RunningServer, RunningServer]
) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    text = CONFIGURATION.read_text().replace("bind :8000", f"bind 127.0.0.1:{port}")
    # What is busy is not down.
    text = text.replace("timeout connect 2s", "timeout connect 60s\n    timeout check 60s")
    for number, server in enumerate(servers, 1):
        text = text.replace(f"backend-{number}:8000", f"127.0.0.1:{server.port}")
    file = folder / "haproxy.cfg"
    file.write_text(text)
    # Names are all resolved now: it has nothing to complain about.
    check = await asyncio.create_subprocess_exec(
        *(haproxy, "-c", "-V", "-f", str(file)), stderr=asyncio.subprocess.PIPE
    )
    _, said = await check.communicate()
    assert (check.returncode, b"WARNING" in said) == (0, False), said
    with (folder / "haproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            haproxy, "-f", str(file), stdout=log, stderr=log
        )
    async with patient_client(url_of(port)) as client:
        try:
            await wait_for(lambda: _answers(client), "the proxy has a ready server")
            yield client
        finally:
            process.terminate()
            await process.wait()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def test_requests_keep_their_id_and_metrics_stay_inside(behind_for_all: Behind) -> None:
    answer = await behind_for_all.client.get("/deals", headers={"X-Request-ID": "my-trace-1"})

    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "my-trace-1"
    for path in ("/metrics", "/%6detrics", "/%6d%65trics?x=1"):
        assert (await behind_for_all.client.get(path)).status_code == 404


CUT_OFF = 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda each: each.name)
async def test_other_processes_go_on_when_one_ends(behind: Behind, number: int) -> None:
    """Nobody notices one that was asked to stop; of one that dies, whom it was answering."""
    over = asyncio.Event()
    statuses: list[int] = []
    stops = number == signal.SIGTERM

    async def ask(client: int) -> None:
        for turn in count():
            if over.is_set():
                break
            try:
                statuses.append((await behind.client.get("/deals?limit=1")).status_code)
            except httpx.RemoteProtocolError:
                statuses.append(CUT_OFF)
            if stops:
                body = {**HOTEL, "name": f"{client}-{turn}", "phone": f"+{client}{turn:06}"}
                statuses.append((await behind.client.post("/hotels", json=body)).status_code)

    async def more() -> None:
        enough = len(statuses) + 100
        await wait_for(lambda: len(statuses) >= enough, f"{enough} responses")

    asking = [asyncio.create_task(ask(client)) for client in range(4)]
    await more()
    os.kill(behind.servers[0].pid, number)

    async def has_stopped() -> bool:
        return not await answers(behind.servers[0].port)

    await wait_for(has_stopped, "the first server stops")
    await more()
    over.set()
    await asyncio.gather(*asking)

    if stops:
        assert set(statuses) == {200, 201}
    else:
        assert set(statuses) <= {200, CUT_OFF}
        assert statuses.count(CUT_OFF) <= len(asking)


@pytest.mark.slow
async def test_a_rolling_restart_fails_nobody(database_url: str, tmp_path: Path) -> None:
    """Each process is replaced by another at its address, while clients read and write."""
    haproxy = require_program("haproxy")
    settings = {"DATA_DIR": str(tmp_path / "data"), "DRAIN_DELAY": "5"}
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    over = asyncio.Event()
    statuses: list[int] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        for turn in count():
            if over.is_set():
                break
            statuses.append((await client.get("/deals?limit=1")).status_code)
            body = {**HOTEL, "name": f"{number}-{turn}", "phone": f"+{number}{turn:06}"}
            statuses.append((await client.post("/hotels", json=body)).status_code)

    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(AsyncExitStack()) for _ in range(2)]
        servers = [
            await place.enter_async_context(running_server(database_url, folder, **settings))
            for place, folder in zip(places, folders, strict=False)
        ]
        client = await stack.enter_async_context(
            _proxy(haproxy, tmp_path, (servers[0], servers[1]))
        )
        asking = [asyncio.create_task(ask(client, number)) for number in range(4)]
        for place, server, folder in zip(places, servers, folders[2:], strict=True):
            # SIGTERM, and the end of the process.
            await place.aclose()
            await place.enter_async_context(
                running_server_at(server.port, database_url, folder, **settings)
            )

            async def has_requests(server: RunningServer = server) -> bool:
                return "/deals" in await _routes(server)

            await wait_for(has_requests, "the proxy sends requests to the new server")
        over.set()
        await asyncio.gather(*asking)

    assert set(statuses) == {200, 201}


async def _routes(server: RunningServer) -> set[str]:
    """The routes that a process has answered."""
    async with server.client() as client:
        return set(re.findall(r'route="([^"]+)"', (await client.get("/metrics")).text))


async def test_pieces_are_passed_on_as_they_come(behind_for_all: Behind) -> None:
    """An upload that is not complete yet, and events of an import that nobody works on."""
    content = b"id,hotel_name\n" * 100
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield content
        await asyncio.sleep(0.2)
        yield content
        sent.set()

    headers = {"Content-Type": "text/csv"}
    accepted = await behind_for_all.client.post("/imports", content=slowly(), headers=headers)
    assert accepted.status_code == 202, accepted.text
    assert sent.is_set()

    url = f"/imports/{accepted.json()['id']}/events"
    async with behind_for_all.client.stream("GET", url) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        async with asyncio.timeout(TIMEOUT):
            first = await anext(events.aiter_bytes())
    assert b"queued" in first
