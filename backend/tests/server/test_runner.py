"""The server process, with an application made for these tests."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests.support.servers import free_port, running_server, wait_until_it_answers
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

# The application counts the turns of its event loop, and reports the turn of each request. /busy
# blocks the whole process until a file exists.
APPLICATION = """
import asyncio, json, pathlib, sys, time
import uvicorn
from app.server.runner import run

port, file = int(sys.argv[1]), pathlib.Path(sys.argv[2])
turn = 0

def next_turn():
    global turn
    turn += 1
    asyncio.get_running_loop().call_soon(next_turn)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        next_turn()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/busy":
        file.touch()
        while file.exists():
            time.sleep(0.01)
    body = json.dumps(turn).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

run(uvicorn.Config(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools"),
    stall_timeout=60)
"""
CLIENTS = 48


async def send_request(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    return reader, writer


async def read_turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(received.partition(b"\r\n\r\n")[2])


async def test_runner_simultaneous_connections_are_accepted_together(tmp_path: Path) -> None:
    port, busy = free_port(), tmp_path / "busy"

    async def is_busy() -> bool:
        return busy.exists()

    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", APPLICATION, str(port), str(busy)
    )
    try:
        await wait_until_it_answers(port)
        first = await send_request(port, "/busy")
        await wait_for(is_busy, "it is busy")
        others = [await send_request(port, "/") for _ in range(CLIENTS)]
        busy.unlink()
        turns = [await read_turn(*each) for each in others]
        await read_turn(*first)
    finally:
        server.terminate()
        await server.wait()

    assert max(turns) - min(turns) < CLIENTS / 2


@pytest.mark.slow
async def test_runner_slow_workers_are_not_killed(database_url: str, tmp_path: Path) -> None:
    """A busy machine makes workers slow. uvicorn alone would kill them after 5 s."""
    (tmp_path / "sitecustomize.py").write_text(
        'import sys, time\nif any("spawn_main" in each for each in sys.orig_argv): time.sleep(6)\n'
    )
    slow = {"PYTHONPATH": str(tmp_path)}
    async with running_server(database_url, tmp_path, "--workers", "2", **slow) as server:
        log = server.log.read_text()

    assert "Application startup complete" in log
    assert " died" not in log
