from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from moto.server import ThreadedMotoServer
from tests.storage.probes import BUCKET, CREDENTIALS, BucketProbe, FolderProbe, StorageProbe

from app.core.config import Settings
from app.storage.uploads import UploadStore, upload_store


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start a server that speaks S3, with a bucket, and return its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.put(f"{url}/{BUCKET}").raise_for_status()
    yield url
    server.stop()


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def folder_settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"data_dir": tmp_path / "data"})


@pytest.fixture
def bucket_settings(folder_settings: Settings, aws_credentials: None, s3_server: str) -> Settings:
    """Return settings with a bucket, where each test has a prefix of its own."""
    bucket = {"uploads_url": f"s3://{BUCKET}/{uuid4().hex}", "aws_endpoint_url": s3_server}
    return folder_settings.model_copy(update=bucket)


@pytest.fixture(params=["folder", "bucket"])
def storage_settings(request: pytest.FixtureRequest) -> Settings:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    return settings


@pytest.fixture
def store(storage_settings: Settings) -> UploadStore:
    return upload_store(storage_settings)


@pytest.fixture
def probe(storage_settings: Settings) -> StorageProbe:
    if storage_settings.uploads_url is None:
        return FolderProbe(storage_settings.data_dir / "uploads")
    return BucketProbe(storage_settings.uploads_url.rpartition("/")[2])
