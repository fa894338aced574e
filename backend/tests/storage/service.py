"""A service with one route that stores its body as `POST /imports` does."""

import asyncio
import os
import re
from pathlib import Path

from fastapi import FastAPI
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.http.exception_handlers import install
from app.http.middleware import BodyLimit, RequestMiddleware
from app.http.uploads import Uploaded
from app.storage.uploads import upload_store


def service(settings: Settings, name: str = "name") -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        RequestMiddleware,
        body=BodyLimit(1024, TIMEOUT),
        larger_bodies={"/imports": BodyLimit(settings.max_upload_bytes, TIMEOUT)},
        server_timing=False,
    )
    install(app)
    store = upload_store(settings)
    target = settings.data_dir / "target"

    @app.post("/imports")
    async def upload(file: Uploaded) -> dict[str, str | int | None]:
        stored = await store.put(name, file.content)
        return {"name": file.name, "bytes": stored.bytes, "sha256": stored.sha256}

    @app.get("/fetched")
    async def fetch() -> str:
        await asyncio.to_thread(target.parent.mkdir, exist_ok=True)
        stored = await store.fetch(name, target)
        target.unlink()
        return stored.sha256

    @app.delete("/imports")
    async def remove() -> None:
        await store.remove(name)

    @app.get("/memory")
    def memory() -> int:
        """Return the peak memory of this process since the last call, in bytes."""
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        assert peak
        Path("/proc/self/clear_refs").write_text("5")
        return int(peak[1]) * 1024

    return app


def service_from_environment() -> FastAPI:
    """Return the application, for uvicorn in another process."""
    return service(
        Settings(
            _env_file=None,
            data_dir=Path(os.environ["DATA_DIR"]),
            max_upload_bytes=int(os.environ["MAX_UPLOAD_BYTES"]),
        )
    )
