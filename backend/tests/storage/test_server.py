"""From a real connection to the storage: what takes a server, and much data."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.patience import PATIENCE
from tests.storage.places import BUCKET, BucketPlace, FolderPlace, Place, blocks, sha256

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MEBIBYTE = 1 << 20
LIMIT = 110 * MEBIBYTE
CSV = {"Content-Type": "text/csv"}
HEAD = b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
BACKEND = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A server in a process of its own, whose memory is its own, too."""

    client: httpx.AsyncClient
    port: int
    place: Place
    log: Path

    def answered(self) -> int:
        """How many uploads it has finished with, answered or not."""
        return self.log.read_text().count("route=/imports")


@asynccontextmanager
async def served(folder: Path, s3: str | None) -> AsyncIterator[Server]:
    prefix = uuid4().hex
    environment = {"MAX_UPLOAD_BYTES": str(LIMIT), "PYTHONPATH": str(BACKEND)}
    environment |= {"DATA_DIR": str(folder / "data"), "UPLOADS_URL": ""}
    if s3 is not None:
        environment |= {"UPLOADS_URL": f"s3://{BUCKET}/{prefix}", "AWS_ENDPOINT_URL": s3}
        environment |= {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "of-tests"}
        environment |= {"AWS_REGION": "us-east-1"}
    place = FolderPlace(folder / "data" / "uploads") if s3 is None else BucketPlace(prefix)
    log = folder / "log"
    # It listens before there is a server: nobody has to ask whether there is one by now.
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
            yield Server(client, port, place, log)
    finally:
        process.terminate()
        await process.wait()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module", params=["folder", "bucket"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    s3 = None if request.param == "folder" else request.getfixturevalue("s3_server")
    async with served(tmp_path_factory.mktemp(request.param), s3) as server:
        yield server


@pytest.fixture
async def server(shared: Server) -> AsyncIterator[Server]:
    """A server that has not stored anything."""
    yield shared
    (await shared.client.delete("/imports")).raise_for_status()
    assert shared.place.files() == shared.place.leftovers() == []


async def until_answered(server: Server, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while server.answered() < count:  # noqa: ASYNC110 - another process has no event here
            await asyncio.sleep(0.02)


async def until_something_is_there(place: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        while not place.leftovers():  # noqa: ASYNC110 - another process, as above
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("where", ["folder", "bucket"])
@pytest.mark.parametrize("kind", ["raw", "form"])
async def test_memory_does_not_grow_with_the_file(
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
    async with served(tmp_path, s3) as server:
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
    assert server.place.leftovers() == []
    print(f"MiB more: {to_store / MEBIBYTE:.0f} to store, {to_fetch / MEBIBYTE:.0f} to fetch")  # noqa: T201 - `pytest -rP` shows it
    assert max(to_store, to_fetch) < 32 * MEBIBYTE


@pytest.mark.parametrize("ending", ["hang up", "abort"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("sent", [0, 1000, 30 * MEBIBYTE])
async def test_a_client_that_goes_away_leaves_nothing(
    server: Server, chunked: bool, sent: int, ending: str
) -> None:
    answered = server.answered()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100000000"
    writer.write(HEAD + kind + b"\r\n\r\n")
    block = bytes(min(sent, MEBIBYTE))
    for _ in range(sent // len(block) if sent else 0):
        writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        await writer.drain()
    if sent > MEBIBYTE:
        await until_something_is_there(server.place)
    if ending == "abort":
        writer.transport.abort()
    writer.close()

    await until_answered(server, answered + 1)
    assert server.place.files() == server.place.leftovers() == []


async def test_too_much_in_chunks_is_413_and_leaves_nothing(server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        async for block in blocks(LIMIT // MEBIBYTE, MEBIBYTE):
            yield block
        # So much was fine, and is on its way to the storage.
        await until_something_is_there(server.place)
        yield b"x"

    response = await server.client.post("/imports", content=body(), headers=CSV)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert server.place.files() == server.place.leftovers() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: %d" % (LIMIT + 1), b"413"),
        (b"Content-Encoding: br\r\nContent-Length: 1000", b"415"),
    ],
)
async def test_a_client_that_asks_first_is_refused_without_its_body(
    server: Server, headers: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + headers + b"\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        # The first line of all: nobody has said 100, and nothing was sent.
        assert (await reader.readline()).split()[1] == status
    writer.close()


async def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readline()).split()[1] == b"100"
        await reader.readline()
        writer.write(b"id\r\n")
        assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    assert server.place.files() == ["name.upload"]


async def test_others_are_served_meanwhile(server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        # Nothing more is sent before others have been answered.
        async for block in blocks(20, MEBIBYTE):
            yield block
            assert (await server.client.get("/memory")).status_code == 200

    uploaded = await server.client.post("/imports", content=body(), headers=CSV)

    assert uploaded.json()["sha256"] == await sha256(blocks(20, MEBIBYTE))
