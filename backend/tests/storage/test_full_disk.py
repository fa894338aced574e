"""A full disk, simulated by a limit on the size of files.

Only an administrator can fill a real disk.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import asyncio, resource, sys
from pathlib import Path
from app.core.config import Settings
from app.core.errors import StorageFullError
from app.storage.uploads import upload_store

async def blocks(count):
    for _ in range(count):
        yield bytes(1 << 16)

async def main():
    data, limit = Path(sys.argv[1]), 1 << 20
    store = upload_store(Settings(_env_file=None, data_dir=data, uploads_url=None))
    await store.put("large", blocks(100))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for call in (store.put("full", blocks(1000)), store.fetch("large", data / "target")):
        try:
            await call
        except StorageFullError as error:
            print(error.status, error)
    print(sorted(str(path.relative_to(data)) for path in data.rglob("*")))

asyncio.run(main())
"""


def test_store_full_disk_raises_storage_full_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.splitlines() == [
        "507 There is no room to store the file",
        "507 There is no room to store the file",
        "['uploads', 'uploads/large.upload']",
    ]
