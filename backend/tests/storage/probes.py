"""The places an upload can be stored in, and what they hold; real ones, both of them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

BUCKET = "uploads-of-tests"
# Variables of the library that speaks to it.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "of-tests",
    "AWS_REGION": "us-east-1",
}


class Place(Protocol):
    """What a test asks about a place besides what the store says."""

    def files(self) -> list[str]:
        """The finished ones."""

    def leftovers(self) -> list[str]:
        """What was begun and is not finished."""


class FolderPlace:
    def __init__(self, path: Path) -> None:
        self.path = path

    def _names(self) -> list[str]:
        return sorted(each.name for each in self.path.iterdir()) if self.path.exists() else []

    def files(self) -> list[str]:
        return [name for name in self._names() if "#" not in name]

    def leftovers(self) -> list[str]:
        return [name for name in self._names() if "#" in name]


class BucketPlace:
    """A bucket of a server in this process; it is looked at from behind, past the protocol."""

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
    count: int, size: int = 1 << 16, *, then: BaseException | None = None
) -> AsyncIterator[bytes]:
    """Blocks that all differ, and an error at the end."""
    for number in range(count):
        await asyncio.sleep(0)
        yield number.to_bytes(8, "big") * (size // 8)
    if then is not None:
        raise then


async def stuck(count: int, there: asyncio.Event) -> AsyncIterator[bytes]:
    """Blocks, and then nothing for ever; `there` says when."""
    async for block in blocks(count):
        yield block
    there.set()
    await asyncio.Event().wait()


async def sha256(content: AsyncIterator[bytes]) -> str:
    digest = hashlib.sha256()
    async for block in content:
        digest.update(block)
    return digest.hexdigest()
