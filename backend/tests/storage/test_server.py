"""The path from a real connection to the storage, with large bodies."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.storage.probes import (
    BUCKET,
    CREDENTIALS,
    BucketProbe,
    FolderProbe,
    StorageProbe,
    blocks,
    sha256,
)
from tests.storage.service import service
from tests.support.local_servers import serve_in_thread
from tests.support.servers import patient_client, url_of
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings

pytestmark = pytest.mark.integration

MEBIBYTE = 1 << 20
LIMIT = 30 * MEBIBYTE
# More bytes than a part of an upload to a bucket, so that a refusal must undo a part.
LARGE_BODY = 20 * MEBIBYTE
# The size for the server whose memory the test measures.
LARGE_LIMIT = 110 * MEBIBYTE
CSV = {"Content-Type": "text/csv"}
HEAD = b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
BACKEND = Path(__file__).parents[2]


class UploadCounter:
    """The service, with a count of finished uploads, answered or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.finished = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self.finished += scope.get("path") == "/imports"


@dataclass(frozen=True)
class Server:
    app: UploadCounter
    client: httpx.AsyncClient
    port: int
    probe: StorageProbe


@pytest.fixture(scope="module", params=["folder", "bucket"])
async def shared_server(
    request: pytest.FixtureRequest, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    changed: dict[str, Any] = {
        "data_dir": tmp_path_factory.mktemp(request.param) / "data",
        "max_upload_bytes": LIMIT,
    }
    prefix = uuid4().hex
    probe: StorageProbe = FolderProbe(changed["data_dir"] / "uploads")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "bucket":
            probe = BucketProbe(prefix)
            changed["uploads_url"] = f"s3://{BUCKET}/{prefix}"
            changed["aws_endpoint_url"] = request.getfixturevalue("s3_server")
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
        app = UploadCounter(service(settings.model_copy(update=changed)))
        config = uvicorn.Config(app, log_config=None, access_log=False)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            async with serve_in_thread(config, listening), patient_client(url_of(port)) as client:
                yield Server(app, client, port, probe)


@pytest.fixture
async def server(shared_server: Server, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Server]:
    """Start a server with an empty storage."""
    yield shared_server
    (await shared_server.client.delete("/imports")).raise_for_status()
    assert shared_server.probe.files() == shared_server.probe.leftovers() == []
    assert not [record for record in caplog.get_records("call") if record.exc_info]


@dataclass(frozen=True)
class ServerProcess:
    """A server in a process of its own, with memory of its own."""

    client: httpx.AsyncClient
    probe: StorageProbe


@asynccontextmanager
async def server_process(folder: Path, s3: str | None) -> AsyncIterator[ServerProcess]:
    prefix = uuid4().hex
    environment = {"MAX_UPLOAD_BYTES": str(LARGE_LIMIT), "PYTHONPATH": str(BACKEND)}
    environment |= {"DATA_DIR": str(folder / "data"), "UPLOADS_URL": ""}
    if s3 is not None:
        environment |= {"UPLOADS_URL": f"s3://{BUCKET}/{prefix}", "AWS_ENDPOINT_URL": s3}
        environment |= CREDENTIALS
    probe = FolderProbe(folder / "data" / "uploads") if s3 is None else BucketProbe(prefix)
    log = folder / "log"
    # The socket listens before the server starts, so clients need not poll.
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as output:
        port = listening.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--factory", "--fd", str(listening.fileno())),
            "tests.storage.service:service_from_environment",
            env={**os.environ, **environment},
            pass_fds=[listening.fileno()],
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            (await client.get("/memory")).raise_for_status()
            yield ServerProcess(client, probe)
    finally:
        process.terminate()
        await process.wait()
    assert "Traceback" not in log.read_text()


async def wait_for_uploads(server: Server, count: int) -> None:
    await wait_for(lambda: server.app.finished >= count, f"{count} uploads are finished")


async def wait_for_leftovers(probe: StorageProbe) -> None:
    await wait_for(probe.leftovers, "the storage has begun to store the file")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "bucket"])
@pytest.mark.parametrize("kind", ["raw", "form"])
async def test_upload_large_file_uses_constant_memory(
    request: pytest.FixtureRequest, tmp_path: Path, where: str, kind: str
) -> None:
    count = 100

    async def body() -> AsyncIterator[bytes]:
        if kind == "form":
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        async for block in blocks(count, MEBIBYTE):
            yield block
        if kind == "form":
            yield b"\r\n--x--\r\n"

    media_type = {"raw": "text/csv", "form": "multipart/form-data; boundary=x"}[kind]
    s3 = None if where == "folder" else request.getfixturevalue("s3_server")
    async with server_process(tmp_path, s3) as server:
        client = server.client
        small = await client.post("/imports", content=b"x", headers=CSV)
        assert small.status_code == 200
        before = (await client.get("/memory")).json()

        headers = {"Content-Type": media_type}
        stored = (await client.post("/imports", content=body(), headers=headers)).json()
        to_store = (await client.get("/memory")).json() - before
        fetched = (await client.get("/fetched")).json()
        to_fetch = (await client.get("/memory")).json() - before

    assert stored["bytes"] == count * MEBIBYTE
    assert stored["sha256"] == fetched == await sha256(blocks(count, MEBIBYTE))
    assert server.probe.leftovers() == []
    print(f"MiB more: {to_store / MEBIBYTE:.0f} to store, {to_fetch / MEBIBYTE:.0f} to fetch")  # noqa: T201 - `pytest -rP` shows it
    assert max(to_store, to_fetch) < 32 * MEBIBYTE


@pytest.mark.parametrize("ending", ["hang up", "abort"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("sent", [0, 1000, LARGE_BODY])
async def test_upload_client_disconnect_leaves_nothing(
    server: Server, chunked: bool, sent: int, ending: str
) -> None:
    finished = server.app.finished
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % LIMIT
    writer.write(HEAD + kind + b"\r\n\r\n")
    block = bytes(min(sent, MEBIBYTE))
    for _ in range(sent // len(block) if sent else 0):
        writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        await writer.drain()
    if sent > MEBIBYTE:
        await wait_for_leftovers(server.probe)
    if ending == "abort":
        writer.transport.abort()
    writer.close()

    await wait_for_uploads(server, finished + 1)
    assert server.probe.files() == server.probe.leftovers() == []


async def test_upload_chunked_over_limit_returns_413_and_leaves_nothing(server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        async for block in blocks(LIMIT // MEBIBYTE, MEBIBYTE):
            yield block
        # The body is within the limit so far, and the storage has received a part of it.
        await wait_for_leftovers(server.probe)
        yield b"x"

    response = await server.client.post("/imports", content=body(), headers=CSV)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert server.probe.files() == server.probe.leftovers() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: %d" % (LIMIT + 1), b"413"),
        (b"Content-Encoding: br\r\nContent-Length: 1000", b"415"),
    ],
)
async def test_upload_expect_continue_invalid_headers_are_refused_before_body(
    server: Server, headers: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + headers + b"\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(TIMEOUT):
        # The first line of the response: the server has not sent 100, and the client no body.
        assert (await reader.readline()).split()[1] == status
    writer.close()


async def test_upload_expect_continue_valid_headers_return_100(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(TIMEOUT):
        assert (await reader.readline()).split()[1] == b"100"
        await reader.readline()
        writer.write(b"id\r\n")
        assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    assert server.probe.files() == ["name.upload"]


async def test_upload_in_progress_other_requests_are_served(server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        # The body stops until another request gets its response.
        async for block in blocks(10, MEBIBYTE):
            yield block
            assert (await server.client.get("/memory")).status_code == 200

    uploaded = await server.client.post("/imports", content=body(), headers=CSV)

    assert uploaded.json()["sha256"] == await sha256(blocks(10, MEBIBYTE))
