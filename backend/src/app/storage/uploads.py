"""The store that keeps uploaded files for imports, in a folder or an S3 bucket."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import obstore

from app.core.config import Settings
from app.core.errors import NotFoundError
from app.storage.backends import Bucket, Folder
from app.storage.block_channel import AbandonedError, BlockChannel
from app.storage.errors import storage_errors

# An upload holds at most PARTS parts and one block in memory. S3 accepts at most 10,000 parts per
# object, so MAX_UPLOAD_BYTES is at most 64 GiB.
PART_BYTES = 8 * 1024 * 1024
PARTS = 2
BLOCK_BYTES = 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", re.ASCII)
# Suffix of the service's files. Housekeeping ignores other files in a shared folder or bucket.
_SUFFIX = ".upload"
# In a folder, obstore writes to a temporary file with such a name and renames the complete file.
_UNFINISHED = re.compile(r"(.+)\.upload#\d+", re.ASCII)


@dataclass(frozen=True)
class Stored:
    """The size of a stored or fetched file in bytes, and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


class _Measure:
    def __init__(self) -> None:
        self._bytes = 0
        self._digest = hashlib.sha256()

    def add(self, block: bytes) -> None:
        self._bytes += len(block)
        self._digest.update(block)

    def result(self) -> Stored:
        return Stored(self._bytes, self._digest.hexdigest())


class UploadStore:
    """A store of named files. Each file is written once and atomically.

    Callers choose unique names of 1 to 200 letters, digits, `-` and `_`, and never use a client's
    file name. Every method raises `StorageUnavailableError` if the storage does not answer or
    refuses a request. Methods that write raise `StorageFullError` if the storage is full.
    """

    def __init__(self, place: Folder | Bucket) -> None:
        self._place = place

    async def put(self, name: str, content: AsyncIterator[bytes]) -> Stored:
        """Store the blocks of up to 1 MiB that `content` yields. Return their size and hash.

        Nothing is kept if `content` raises, the task is cancelled or the storage fails. The file
        becomes visible only when it is complete.

        A killed process can leave an incomplete file. `older_than` finds incomplete files in a
        folder. In a bucket a lifecycle rule must remove them.
        """
        path = _path(name)
        feed = BlockChannel()
        writing = asyncio.create_task(self._write(path, feed))
        writing.add_done_callback(lambda _: feed.close())
        try:
            measure = _Measure()
            async for block in content:
                measure.add(block)
                if not await feed.send(block):
                    break
            await feed.end()
            await asyncio.shield(writing)
        except BaseException:
            feed.abandon()
            # Complete the cleanup even if this task is cancelled again.
            await asyncio.shield(asyncio.create_task(self._undo(name, writing)))
            raise
        return measure.result()

    async def _write(self, path: str, feed: BlockChannel) -> None:
        with storage_errors():
            store = await self._place.store()
            await obstore.put_async(store, path, feed, chunk_size=PART_BYTES, max_concurrency=PARTS)

    async def _undo(self, name: str, writing: asyncio.Task[None]) -> None:
        await asyncio.wait([writing])
        if writing.exception() is None:
            # The write had completed before the failure.
            await self.remove(name)
        elif not isinstance(writing.exception(), AbandonedError):
            # obstore removes its temporary file, but may fail to do so on a failing disk.
            with suppress(Exception):
                await self.remove(name)

    async def fetch(self, name: str, target: Path) -> Stored:
        """Copy a stored file to `target`, replacing an existing file. On an error, remove the copy.

        Raises:
            NotFoundError: the store has no file of this name.
        """
        path = _path(name)
        with storage_errors():
            store = await self._place.store()
            try:
                found = await obstore.get_async(store, path)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                raise NotFoundError("The uploaded file is no longer stored") from error
            try:
                with await asyncio.to_thread(target.open, "wb") as file:
                    return await _copied(found.stream(BLOCK_BYTES), file)
            except BaseException:
                await asyncio.to_thread(target.unlink, missing_ok=True)
                raise

    async def remove(self, name: str) -> None:
        """Remove a file, and temporary files of an interrupted `put`. Ignore a missing file."""
        path = _path(name)
        with storage_errors():
            store = await self._place.store()
            with suppress(FileNotFoundError):
                await obstore.delete_async(store, path)
            if isinstance(self._place, Folder):
                await asyncio.to_thread(_remove_unfinished, self._place.path, name)

    async def older_than(self, when: datetime, limit: int) -> list[str]:
        """Return the names of up to `limit` files that were last written before `when`.

        `when` must have a time zone. In a folder the result includes the incomplete files of killed
        processes. In a bucket incomplete files are invisible.
        """
        names: dict[str, None] = {}
        with storage_errors():
            store = await self._place.store()
            async for page in obstore.list(store, chunk_size=1000):
                for each in page:
                    name = each["path"].removesuffix(_SUFFIX)
                    is_ours = name != each["path"] and _NAME.fullmatch(name)
                    if is_ours and each["last_modified"] < when:
                        names[name] = None
                if len(names) >= limit:
                    break
            if isinstance(self._place, Folder):
                unfinished = await asyncio.to_thread(_unfinished, self._place.path)
                names.update({name: None for name, at in unfinished if at < when.timestamp()})
        return list(names)[:limit]


def _path(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a name is up to 200 letters, digits, - and _")
    return name + _SUFFIX


async def _copied(content: AsyncIterator[bytes], file: BinaryIO) -> Stored:
    measure = _Measure()

    def add(block: bytes) -> None:
        measure.add(block)
        file.write(block)

    async for block in content:
        await asyncio.to_thread(add, block)
    return measure.result()


def _unfinished(folder: Path) -> list[tuple[str, float]]:
    """Return the name and the last write time of each incomplete file in `folder`."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may complete the upload, and so rename the file, in the meantime.
            with suppress(FileNotFoundError):
                if match := _UNFINISHED.fullmatch(entry.name):
                    found.append((match[1], entry.stat().st_mtime))
    return found


def _remove_unfinished(folder: Path, name: str) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if (match := _UNFINISHED.fullmatch(entry.name)) and match[1] == name:
                Path(entry).unlink(missing_ok=True)


def upload_store(settings: Settings) -> UploadStore:
    """Create the upload store that the settings select, without connecting to the storage.

    Raises:
        ConfigurationError: `UPLOADS_URL` or an `AWS_` variable is invalid.
    """
    if settings.uploads_url is None:
        return UploadStore(Folder(settings.data_dir / "uploads"))
    return UploadStore(Bucket(settings.uploads_url, settings.aws_endpoint_url))
