"""Probes of a folder and of a bucket: the files that an upload store keeps there."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

BUCKET = "uploads-of-tests"
# Variables that the S3 library reads.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "of-tests",
    "AWS_REGION": "us-east-1",
}


class StorageProbe(Protocol):
    """The files in a storage, read without the store under test."""

    def files(self) -> list[str]:
        """Return the names of finished uploads."""

    def leftovers(self) -> list[str]:
        """Return the names of unfinished uploads."""


class FolderProbe:
    def __init__(self, path: Path) -> None:
        self.path = path

    def _names(self) -> list[str]:
        return sorted(each.name for each in self.path.iterdir()) if self.path.exists() else []

    def files(self) -> list[str]:
        return [name for name in self._names() if "#" not in name]

    def leftovers(self) -> list[str]:
        return [name for name in self._names() if "#" in name]


class BucketProbe:
    """A bucket of a server in this process, read from the server's memory."""

    def __init__(self, prefix: str) -> None:
        self.prefix = f"{prefix}/"

    @property
    def _bucket(self) -> Any:
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET]

    def files(self) -> list[str]:
        return sorted(
            key.removeprefix(self.prefix)
            for key in self._bucket.keys
            if key.startswith(self.prefix)
        )

    def leftovers(self) -> list[str]:
        uploads = self._bucket.multiparts.values()
        return sorted(each.key_name for each in uploads if each.key_name.startswith(self.prefix))


async def blocks(
    count: int, size: int = 1 << 16, *, error: BaseException | None = None
) -> AsyncIterator[bytes]:
    """Yield blocks that all differ, and raise `error` at the end."""
    for number in range(count):
        await asyncio.sleep(0)
        yield number.to_bytes(8, "big") * (size // 8)
    if error is not None:
        raise error


async def blocks_then_hang(count: int, sent: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield blocks, set `sent`, and wait for ever."""
    async for block in blocks(count):
        yield block
    sent.set()
    await asyncio.Event().wait()


async def sha256(content: AsyncIterator[bytes]) -> str:
    digest = hashlib.sha256()
    async for block in content:
        digest.update(block)
    return digest.hexdigest()
