"""The configuration in ops/haproxy, with a real HAProxy before two processes of the service."""

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
class Cluster:
    """Two servers behind a proxy, and a client of the proxy."""

    client: httpx.AsyncClient
    servers: tuple[RunningServer, RunningServer]


@asynccontextmanager
async def _start_cluster(
    database_url: str, folder: Path, **settings: str
) -> AsyncIterator[Cluster]:
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
        yield Cluster(client, (one, two))


@pytest.fixture
async def cluster(database_url: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Start servers that a test may stop."""
    async with _start_cluster(database_url, tmp_path, DRAIN_DELAY="3") as cluster:
        yield cluster


@pytest.fixture(scope="module")
async def shared_cluster(
    server_url: URL, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """Start servers that no test stops."""
    folder = tmp_path_factory.mktemp("proxy")
    async with (
        temporary_database(server_url, template) as url,
        _start_cluster(as_text(url), folder) as cluster,
    ):
        yield cluster


@asynccontextmanager
async def _proxy(
    haproxy: str, folder: Path, servers: tuple[RunningServer, RunningServer]
) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    text = CONFIGURATION.read_text().replace("bind :8000", f"bind 127.0.0.1:{port}")
    # HAProxy must not count a busy server as down.
    text = text.replace("timeout connect 2s", "timeout connect 60s\n    timeout check 60s")
    for number, server in enumerate(servers, 1):
        text = text.replace(f"backend-{number}:8000", f"127.0.0.1:{server.port}")
    file = folder / "haproxy.cfg"
    file.write_text(text)
    # All names resolve here, so HAProxy must print no warning.
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
            await wait_for(lambda: _is_ready(client), "the proxy has a ready server")
            yield client
        finally:
            process.terminate()
            await process.wait()


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def test_proxy_keeps_request_id_and_hides_metrics(
    shared_cluster: Cluster,
) -> None:
    answer = await shared_cluster.client.get("/deals", headers={"X-Request-ID": "my-trace-1"})

    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "my-trace-1"
    for path in ("/metrics", "/%6detrics", "/%6d%65trics?x=1"):
        assert (await shared_cluster.client.get(path)).status_code == 404


CUT_OFF = 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda each: each.name)
async def test_proxy_ended_server_others_keep_answering(cluster: Cluster, number: int) -> None:
    """A terminated server fails no request. A killed one fails only its requests in flight."""
    finished = asyncio.Event()
    statuses: list[int] = []
    stops = number == signal.SIGTERM

    async def ask(client: int) -> None:
        for turn in count():
            if finished.is_set():
                break
            try:
                statuses.append((await cluster.client.get("/deals?limit=1")).status_code)
            except httpx.RemoteProtocolError:
                statuses.append(CUT_OFF)
            if stops:
                body = {**HOTEL, "name": f"{client}-{turn}", "phone": f"+{client}{turn:06}"}
                statuses.append((await cluster.client.post("/hotels", json=body)).status_code)

    async def wait_for_more_requests() -> None:
        enough = len(statuses) + 100
        await wait_for(lambda: len(statuses) >= enough, f"{enough} responses")

    clients = [asyncio.create_task(ask(client)) for client in range(4)]
    await wait_for_more_requests()
    os.kill(cluster.servers[0].pid, number)

    async def has_stopped() -> bool:
        return not await answers(cluster.servers[0].port)

    await wait_for(has_stopped, "the first server stops")
    await wait_for_more_requests()
    finished.set()
    await asyncio.gather(*clients)

    if stops:
        assert set(statuses) == {200, 201}
    else:
        assert set(statuses) <= {200, CUT_OFF}
        assert statuses.count(CUT_OFF) <= len(clients)


@pytest.mark.slow
async def test_proxy_rolling_restart_fails_no_request(database_url: str, tmp_path: Path) -> None:
    """Each server is replaced by a new one at its address while clients read and write."""
    haproxy = require_program("haproxy")
    settings = {"DATA_DIR": str(tmp_path / "data"), "DRAIN_DELAY": "5"}
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    finished = asyncio.Event()
    statuses: list[int] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        for turn in count():
            if finished.is_set():
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
        clients = [asyncio.create_task(ask(client, number)) for number in range(4)]
        for place, server, folder in zip(places, servers, folders[2:], strict=True):
            # SIGTERM, and the end of the process.
            await place.aclose()
            await place.enter_async_context(
                running_server_at(server.port, database_url, folder, **settings)
            )
            async with asyncio.timeout(TIMEOUT):
                # The proxy sends it requests again.
                while "/deals" not in await _routes(server):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
        finished.set()
        await asyncio.gather(*clients)

    assert set(statuses) == {200, 201}


async def _routes(server: RunningServer) -> set[str]:
    """Return the routes of the requests that a server has answered."""
    async with server.client() as client:
        return set(re.findall(r'route="([^"]+)"', (await client.get("/metrics")).text))


async def test_proxy_streams_uploads_and_events(shared_cluster: Cluster) -> None:
    """Neither an unfinished upload nor the events of a queued import are buffered."""
    content = b"id,hotel_name\n" * 100
    sent = asyncio.Event()

    async def send_in_pieces() -> AsyncIterator[bytes]:
        yield content
        await asyncio.sleep(0.2)
        yield content
        sent.set()

    headers = {"Content-Type": "text/csv"}
    accepted = await shared_cluster.client.post(
        "/imports", content=send_in_pieces(), headers=headers
    )
    assert accepted.status_code == 202, accepted.text
    assert sent.is_set()

    url = f"/imports/{accepted.json()['id']}/events"
    async with shared_cluster.client.stream("GET", url) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        async with asyncio.timeout(TIMEOUT):
            first = await anext(events.aiter_bytes())
    assert b"queued" in first
