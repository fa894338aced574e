from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from moto.server import ThreadedMotoServer
from tests.storage.places import BUCKET, CREDENTIALS, BucketPlace, FolderPlace, Place

from app.core.config import Settings
from app.storage.uploads import UploadStore, upload_store


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server that speaks S3, with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.put(f"{url}/{BUCKET}").raise_for_status()
    yield url
    server.stop()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def in_folder(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"data_dir": tmp_path / "data"})


@pytest.fixture
def in_bucket(in_folder: Settings, aws: None, s3_server: str) -> Settings:
    """Settings with a bucket, in which each test has a prefix of its own."""
    bucket = {"uploads_url": f"s3://{BUCKET}/{uuid4().hex}", "aws_endpoint_url": s3_server}
    return in_folder.model_copy(update=bucket)


@pytest.fixture(params=["folder", "bucket"])
def stored_in(request: pytest.FixtureRequest) -> Settings:
    settings: Settings = request.getfixturevalue(f"in_{request.param}")
    return settings


@pytest.fixture
def store(stored_in: Settings) -> UploadStore:
    return upload_store(stored_in)


@pytest.fixture
def place(stored_in: Settings) -> Place:
    if stored_in.uploads_url is None:
        return FolderPlace(stored_in.data_dir / "uploads")
    return BucketPlace(stored_in.uploads_url.rpartition("/")[2])
