"""Uploads that are missing, damaged, or too large for the worker's disk."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.jobs.workers import (
    LocalWorkers,
    Rows,
    Workers,
    deals_csv,
    get_import,
    kill,
    upload,
    wait_finished,
)
from tests.support.local_servers import local_server
from tests.support.programs import require_program
from tests.support.waiting import wait_for

from app.core.config import Settings

pytestmark = pytest.mark.integration


async def test_upload_aborted_leaves_nothing(
    own_settings: Settings, rows: Rows, tmp_path: Path
) -> None:
    body = b"x" * 3_000_000
    head = (
        "POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    folder = tmp_path / "data" / "uploads"

    def is_arriving() -> bool:
        return folder.exists() and bool(list(folder.iterdir()))

    def is_removed() -> bool:
        return not list(folder.iterdir())

    async with local_server(own_settings) as server:
        for sent in (len(body) // 2, len(body) - 1):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head + body[:sent])
            await writer.drain()
            await wait_for(is_arriving, "the upload arrives")
            writer.transport.abort()
            await wait_for(is_removed, "the upload is removed")
    assert await rows("SELECT 1 FROM imports") == []
    assert await rows("SELECT 1 FROM procrastinate_jobs") == []


async def test_import_of_altered_upload_fails(
    api: httpx.AsyncClient, local_workers: LocalWorkers, rows: Rows, tmp_path: Path
) -> None:
    changed, removed = [
        await upload(api, deals_csv(tmp_path / f"{n}.csv", 10, seed=n)) for n in range(2)
    ]
    stored = {
        row[0]: tmp_path / "data" / "uploads" / f"{row[1]}.upload"
        for row in await rows("SELECT id, object_name FROM imports")
    }
    content = stored[changed["id"]].read_bytes()
    stored[changed["id"]].write_bytes(content.replace(b",True,", b",False,"))
    stored[removed["id"]].unlink()
    local_workers.start()
    error = (await wait_finished(api, changed, "failed"))["error"]
    assert error == (
        "The stored file differs from the uploaded one in size or SHA-256; upload it again"
    )
    error = (await wait_finished(api, removed, "failed"))["error"]
    assert error == "The uploaded file is no longer stored"
    assert await rows("SELECT 1 FROM deals") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a folder with room for 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["disk", "limit"])
async def test_worker_without_disk_space_requeues_import(
    api: httpx.AsyncClient,
    workers: Workers,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    where: str,
) -> None:
    made = await upload(api, deals_csv(tmp_path / "deals.csv", 10_000))
    if where == "disk":
        full_worker = workers.start(TMPDIR=str(request.getfixturevalue("small_disk")))
    else:
        full_worker = workers.start(prefix=[require_program("prlimit"), "--fsize=1000000"])

    async def error_of_first_attempt() -> str | None:
        found = await get_import(api, made)
        return found["error"] if found["state"] == "queued" else None

    told = await wait_for(error_of_first_attempt, "the import is queued again")
    assert told == "There is no room to store the file"
    assert full_worker.poll() is None
    kill(full_worker)
    workers.start()
    done = await wait_finished(api, made)
    assert (done["rows_read"], done["error"]) == (10_000, None)
    assert done["links"]["rejects"] is None or done["rejected"]
