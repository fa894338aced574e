"""Where uploaded files wait until they are loaded: a folder, or a bucket of the S3 kind."""

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

# What one upload holds in memory is PARTS of these, and a block on its way. S3 takes 10,000 parts
# of an object, which is why MAX_UPLOAD_BYTES ends at 64 GiB.
PART_BYTES = 8 * 1024 * 1024
PARTS = 2
BLOCK_BYTES = 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", re.ASCII)
# Marks what is the service's own: housekeeping touches nothing else, should others use the place.
_SUFFIX = ".upload"
# The library writes to such a file beside the true one, and renames it when it is whole.
_UNFINISHED = re.compile(r"(.+)\.upload#\d+", re.ASCII)


@dataclass(frozen=True)
class Stored:
    """A file as it was stored or fetched: its size in bytes, and its SHA-256 in hexadecimal."""

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
    """Files by name, written once and whole or not at all.

    A name is one to 200 letters, digits, `-` and `_`, chosen by the service and used once: it is
    no name that a client gave. Every method raises `StorageUnavailableError` when the place does
    not answer or refuses, and those that write `StorageFullError` when it has no room.
    """

    def __init__(self, place: Folder | Bucket) -> None:
        self._place = place

    async def put(self, name: str, content: AsyncIterator[bytes]) -> Stored:
        """Store what `content` yields, in blocks of up to 1 MiB: they are hashed in between.

        When `content` raises, the task is cancelled or the storage fails, nothing is kept: the
        object appears with its last byte only, and what was sent of it is taken back. A process
        that is killed cannot do so; `older_than` and the bucket's own rules are for that.
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
            # To the end, whoever cancels this once more.
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
            # The last byte was on its way already.
            await self.remove(name)
        elif not isinstance(writing.exception(), AbandonedError):
            # The library takes back what it can; what a failing disk has left is a file.
            with suppress(Exception):
                await self.remove(name)

    async def fetch(self, name: str, target: Path) -> Stored:
        """Copy the file to `target`, which is replaced; a copy that fails is removed.

        Raises:
            NotFoundError: there is no such file.
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
        """Remove the file, and what an interrupted `put` of it has left; none is fine."""
        path = _path(name)
        with storage_errors():
            store = await self._place.store()
            with suppress(FileNotFoundError):
                await obstore.delete_async(store, path)
            if isinstance(self._place, Folder):
                await asyncio.to_thread(_remove_unfinished, self._place.path, name)

    async def older_than(self, when: datetime, limit: int) -> list[str]:
        """Up to `limit` names of files that were last written before `when`, which has a zone.

        With those that a killed process has begun and not finished, where they are files; what it
        has left in a bucket is invisible there, and removed by a rule of the bucket.
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
    """Names of files that were begun, and when something was last written to each."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may finish it at this moment.
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
    """The store of these settings; that it can be reached is first known when it is used.

    Raises:
        ConfigurationError: `UPLOADS_URL`, or an `AWS_` variable with it, cannot be used.
    """
    if settings.uploads_url is None:
        return UploadStore(Folder(settings.data_dir / "uploads"))
    return UploadStore(Bucket(settings.uploads_url, settings.aws_endpoint_url))
