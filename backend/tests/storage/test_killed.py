"""A process that is killed while it stores a file."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.storage.uploads import upload_store

pytestmark = pytest.mark.integration

PROGRAM = """
import asyncio, sys
from pathlib import Path
from app.core.config import Settings
from app.storage.uploads import upload_store

async def stuck():
    for _ in range(300):
        yield bytes(1 << 16)
    print("there", flush=True)
    await asyncio.Event().wait()

settings = Settings(_env_file=None, data_dir=Path(sys.argv[1]), uploads_url=None)
asyncio.run(upload_store(settings).put("name", stuck()))
"""


async def test_put_killed_process_leftovers_are_found_and_removed(
    settings: Settings, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        assert await process.stdout.readline() == b"there\n"
    process.kill()
    await process.wait()
    folder = tmp_path / "uploads"
    store = upload_store(settings.model_copy(update={"data_dir": tmp_path}))

    assert list(folder.iterdir()) != []
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert await store.older_than(soon, limit=10) == ["name"]
    await store.remove("name")
    assert list(folder.iterdir()) == []
