"""Upload stores in a folder and in a bucket.

Every test runs with both, unless its name says otherwise.
"""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.storage.probes import BUCKET, StorageProbe, blocks, blocks_then_hang, sha256
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.core.errors import ConfigurationError, NotFoundError, StorageUnavailableError
from app.storage.uploads import PART_BYTES, Stored, UploadStore, upload_store

pytestmark = pytest.mark.integration

BLOCK = 1 << 16
# Fewer bytes than a part, exactly one part, and several parts with a rest.
COUNTS = [0, 1, PART_BYTES // BLOCK, 3 * PART_BYTES // BLOCK + 1]


async def unavailable_store(kind: str, settings: Settings) -> UploadStore:
    if kind == "a folder that is a file":
        settings.data_dir.mkdir()
        (settings.data_dir / "uploads").touch()
        return upload_store(settings)
    update = {
        "no such bucket": {"uploads_url": "s3://no-such-bucket"},
        "nobody answers": {"aws_endpoint_url": "http://127.0.0.1:1"},
    }[kind]
    return upload_store(settings.model_copy(update=update))


class TestPut:
    @pytest.mark.parametrize("count", COUNTS)
    async def test_any_size_can_be_fetched(
        self, store: UploadStore, probe: StorageProbe, tmp_path: Path, count: int
    ) -> None:
        target = tmp_path / "target"
        expected = Stored(count * BLOCK, await sha256(blocks(count)))

        assert await store.put("name", blocks(count)) == expected
        assert await store.fetch("name", target) == expected
        assert hashlib.sha256(target.read_bytes()).hexdigest() == expected.sha256
        assert probe.files() == ["name.upload"]
        assert probe.leftovers() == []

    @pytest.mark.parametrize("count", COUNTS)
    async def test_failing_content_keeps_nothing(
        self, store: UploadStore, probe: StorageProbe, count: int
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            await store.put("name", blocks(count, error=ZeroDivisionError()))

        assert probe.files() == probe.leftovers() == []

    @pytest.mark.parametrize("count", COUNTS)
    async def test_cancelled_keeps_nothing(
        self, store: UploadStore, probe: StorageProbe, count: int
    ) -> None:
        sent = asyncio.Event()
        putting = asyncio.create_task(store.put("name", blocks_then_hang(count, sent)))
        await sent.wait()
        putting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await putting
        assert probe.files() == probe.leftovers() == []

    async def test_cancelled_twice_keeps_nothing(
        self, store: UploadStore, probe: StorageProbe
    ) -> None:
        sent = asyncio.Event()
        before = asyncio.all_tasks()
        putting = asyncio.create_task(store.put("name", blocks_then_hang(200, sent)))
        await sent.wait()
        putting.cancel()
        await asyncio.sleep(0)
        putting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await putting
        await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
        assert probe.files() == probe.leftovers() == []

    async def test_cancelled_at_end_keeps_all_or_nothing(
        self, store: UploadStore, probe: StorageProbe
    ) -> None:
        putting: asyncio.Task[Stored]

        async def cancel_at_end() -> AsyncIterator[bytes]:
            async for block in blocks(200):
                yield block
            putting.get_loop().call_later(0.001, putting.cancel)

        putting = asyncio.create_task(store.put("name", cancel_at_end()))
        # The upload and the cancellation race. The file is there whole or not at all.
        [result] = await asyncio.gather(putting, return_exceptions=True)
        assert probe.files() == (
            [] if isinstance(result, asyncio.CancelledError) else ["name.upload"]
        )
        assert probe.leftovers() == []

    async def test_new_folder_is_private(self, folder_settings: Settings) -> None:
        await upload_store(folder_settings).put("name", blocks(1))

        for folder in (folder_settings.data_dir, folder_settings.data_dir / "uploads"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


class TestFetch:
    async def test_unfinished_upload_raises_not_found(
        self, store: UploadStore, probe: StorageProbe, tmp_path: Path
    ) -> None:
        sent = asyncio.Event()
        putting = asyncio.create_task(store.put("name", blocks_then_hang(300, sent)))
        await sent.wait()

        assert probe.files() == []
        with pytest.raises(NotFoundError):
            await store.fetch("name", tmp_path / "target")
        assert not (tmp_path / "target").exists()
        putting.cancel()
        await asyncio.wait([putting])

    async def test_unwritable_target_raises_storage_unavailable(
        self, store: UploadStore, tmp_path: Path
    ) -> None:
        await store.put("name", blocks(1))

        with pytest.raises(StorageUnavailableError):
            await store.fetch("name", tmp_path / "missing" / "target")


class TestRemove:
    async def test_missing_upload_is_ignored(self, store: UploadStore, probe: StorageProbe) -> None:
        await store.put("one", blocks(1))
        await store.put("two", blocks(1))

        await store.remove("one")
        await store.remove("one")
        await store.remove("never-was")

        assert probe.files() == ["two.upload"]


class TestOlderThan:
    async def test_old_uploads_are_returned_up_to_limit(self, store: UploadStore) -> None:
        for name in ("one", "two", "three"):
            await store.put(name, blocks(1))
        now = datetime.now(UTC)

        assert await store.older_than(now - timedelta(minutes=1), limit=10) == []
        found = await store.older_than(now + timedelta(minutes=1), limit=10)
        assert sorted(found) == ["one", "three", "two"]
        assert len(await store.older_than(now + timedelta(minutes=1), limit=2)) == 2

    async def test_leftovers_of_killed_process_are_returned(
        self,
        folder_settings: Settings,
    ) -> None:
        folder = folder_settings.data_dir / "uploads"
        folder.mkdir(parents=True)
        (folder / "name.upload#1").touch()
        (folder / "name.upload#2").touch()
        (folder / "other.upload#1").touch()
        store = upload_store(folder_settings)
        soon = datetime.now(UTC) + timedelta(minutes=1)

        assert sorted(await store.older_than(soon, limit=10)) == ["name", "other"]
        assert await store.older_than(soon - timedelta(hours=1), limit=10) == []
        await store.remove("name")
        assert [each.name for each in folder.iterdir()] == ["other.upload#1"]

    async def test_foreign_files_are_ignored(self, folder_settings: Settings) -> None:
        folder = folder_settings.data_dir / "uploads"
        folder.mkdir(parents=True)
        for name in ("mine", "mine#1", "x.y.upload", "-.upload", "name.uploads"):
            (folder / name).touch()
        store = upload_store(folder_settings)

        assert await store.older_than(datetime.now(UTC) + timedelta(days=1), limit=10) == []

    async def test_other_prefix_of_bucket_is_ignored(self, bucket_settings: Settings) -> None:
        other = bucket_settings.model_copy(update={"uploads_url": f"s3://{BUCKET}/other"})
        await upload_store(other).put("name", blocks(1))

        soon = datetime.now(UTC) + timedelta(minutes=1)
        assert await upload_store(bucket_settings).older_than(soon, limit=10) == []
        assert await upload_store(other).older_than(soon, limit=10) == ["name"]
        await upload_store(other).remove("name")


class TestAnyOperation:
    @pytest.mark.parametrize("name", ["", "../up", "a/b", "a.b", "-a", "x" * 201, "a\n", "\u00e9"])
    async def test_invalid_name_raises_value_error(
        self, store: UploadStore, name: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match="letters"):
            await store.put(name, blocks(1))
        with pytest.raises(ValueError, match="letters"):
            await store.fetch(name, tmp_path / "target")

    @pytest.mark.parametrize(
        "kind", ["a folder that is a file", "no such bucket", "nobody answers"]
    )
    async def test_unavailable_storage_raises_storage_unavailable(
        self, kind: str, folder_settings: Settings, bucket_settings: Settings, tmp_path: Path
    ) -> None:
        settings = folder_settings if kind == "a folder that is a file" else bucket_settings
        store = await unavailable_store(kind, settings)
        async with asyncio.timeout(TIMEOUT):
            for call in (
                store.put("name", blocks(500)),
                store.fetch("name", tmp_path / "target"),
                store.older_than(datetime.now(UTC), limit=1),
            ):
                with pytest.raises(StorageUnavailableError) as caught:
                    await call
                assert str(caught.value) == StorageUnavailableError.default_message


class TestUploadStore:
    def test_invalid_aws_variable_names_the_setting(
        self, bucket_settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps")

        with pytest.raises(ConfigurationError, match="UPLOADS_URL") as caught:
            upload_store(bucket_settings)
        assert "\n" not in str(caught.value)
