"""Every test runs with a folder and with a bucket, unless it says otherwise."""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.storage.places import BUCKET, Place, blocks, sha256, stuck
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.core.errors import ConfigurationError, NotFoundError, StorageUnavailableError
from app.storage.uploads import PART_BYTES, Stored, UploadStore, upload_store

pytestmark = pytest.mark.integration

BLOCK = 1 << 16
# Fewer than a part, exactly one, and several with a rest.
COUNTS = [0, 1, PART_BYTES // BLOCK, 3 * PART_BYTES // BLOCK + 1]


@pytest.mark.parametrize("count", COUNTS)
async def test_what_is_put_can_be_fetched(
    store: UploadStore, place: Place, tmp_path: Path, count: int
) -> None:
    target = tmp_path / "target"
    expected = Stored(count * BLOCK, await sha256(blocks(count)))

    assert await store.put("name", blocks(count)) == expected
    assert await store.fetch("name", target) == expected
    assert hashlib.sha256(target.read_bytes()).hexdigest() == expected.sha256
    assert place.files() == ["name.upload"]
    assert place.leftovers() == []


@pytest.mark.parametrize("count", COUNTS)
async def test_a_content_that_fails_is_not_kept(
    store: UploadStore, place: Place, count: int
) -> None:
    with pytest.raises(ZeroDivisionError):
        await store.put("name", blocks(count, then=ZeroDivisionError()))

    assert place.files() == place.leftovers() == []


@pytest.mark.parametrize("count", COUNTS)
async def test_a_cancelled_put_is_not_kept(store: UploadStore, place: Place, count: int) -> None:
    there = asyncio.Event()
    putting = asyncio.create_task(store.put("name", stuck(count, there)))
    await there.wait()
    putting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await putting
    assert place.files() == place.leftovers() == []


async def test_it_is_undone_also_when_it_is_cancelled_once_more(
    store: UploadStore, place: Place
) -> None:
    there = asyncio.Event()
    before = asyncio.all_tasks()
    putting = asyncio.create_task(store.put("name", stuck(200, there)))
    await there.wait()
    putting.cancel()
    await asyncio.sleep(0)
    putting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await putting
    await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
    assert place.files() == place.leftovers() == []


async def test_a_put_that_is_cancelled_at_its_end_is_not_kept(
    store: UploadStore, place: Place
) -> None:
    putting: asyncio.Task[Stored]

    async def cancelling() -> AsyncIterator[bytes]:
        async for block in blocks(200):
            yield block
        putting.get_loop().call_later(0.001, putting.cancel)

    putting = asyncio.create_task(store.put("name", cancelling()))
    # Whichever comes first: it is there whole, or not at all.
    [result] = await asyncio.gather(putting, return_exceptions=True)
    assert place.files() == ([] if isinstance(result, asyncio.CancelledError) else ["name.upload"])
    assert place.leftovers() == []


async def test_a_file_is_not_there_before_its_last_byte(
    store: UploadStore, place: Place, tmp_path: Path
) -> None:
    there = asyncio.Event()
    putting = asyncio.create_task(store.put("name", stuck(300, there)))
    await there.wait()

    assert place.files() == []
    with pytest.raises(NotFoundError):
        await store.fetch("name", tmp_path / "target")
    assert not (tmp_path / "target").exists()
    putting.cancel()
    await asyncio.wait([putting])


async def test_removing_is_not_particular(store: UploadStore, place: Place) -> None:
    await store.put("one", blocks(1))
    await store.put("two", blocks(1))

    await store.remove("one")
    await store.remove("one")
    await store.remove("never-was")

    assert place.files() == ["two.upload"]


async def test_old_ones_are_found(store: UploadStore) -> None:
    for name in ("one", "two", "three"):
        await store.put(name, blocks(1))
    now = datetime.now(UTC)

    assert await store.older_than(now - timedelta(minutes=1), limit=10) == []
    found = await store.older_than(now + timedelta(minutes=1), limit=10)
    assert sorted(found) == ["one", "three", "two"]
    assert len(await store.older_than(now + timedelta(minutes=1), limit=2)) == 2


async def test_a_target_that_cannot_be_written_leaves_nothing(
    store: UploadStore, tmp_path: Path
) -> None:
    await store.put("name", blocks(1))

    with pytest.raises(StorageUnavailableError):
        await store.fetch("name", tmp_path / "missing" / "target")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a.b", "-a", "x" * 201, "a\n", "\u00e9"])
async def test_a_name_is_the_services_own(store: UploadStore, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letters"):
        await store.put(name, blocks(1))
    with pytest.raises(ValueError, match="letters"):
        await store.fetch(name, tmp_path / "target")


async def test_the_folder_is_private(in_folder: Settings) -> None:
    await upload_store(in_folder).put("name", blocks(1))

    for folder in (in_folder.data_dir, in_folder.data_dir / "uploads"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_the_files_of_others_are_left_alone(in_folder: Settings) -> None:
    folder = in_folder.data_dir / "uploads"
    folder.mkdir(parents=True)
    for name in ("mine", "mine#1", "x.y.upload", "-.upload", "name.uploads"):
        (folder / name).touch()
    store = upload_store(in_folder)

    assert await store.older_than(datetime.now(UTC) + timedelta(days=1), limit=10) == []


async def test_what_a_killed_process_has_left_in_a_folder_is_old_one_day(
    in_folder: Settings,
) -> None:
    folder = in_folder.data_dir / "uploads"
    folder.mkdir(parents=True)
    (folder / "name.upload#1").touch()
    (folder / "name.upload#2").touch()
    (folder / "other.upload#1").touch()
    store = upload_store(in_folder)
    soon = datetime.now(UTC) + timedelta(minutes=1)

    assert sorted(await store.older_than(soon, limit=10)) == ["name", "other"]
    assert await store.older_than(soon - timedelta(hours=1), limit=10) == []
    await store.remove("name")
    assert [each.name for each in folder.iterdir()] == ["other.upload#1"]


async def broken(kind: str, settings: Settings) -> UploadStore:
    if kind == "a folder that is a file":
        settings.data_dir.mkdir()
        (settings.data_dir / "uploads").touch()
        return upload_store(settings)
    update = {
        "no such bucket": {"uploads_url": "s3://no-such-bucket"},
        "nobody answers": {"aws_endpoint_url": "http://127.0.0.1:1"},
    }[kind]
    return upload_store(settings.model_copy(update=update))


@pytest.mark.parametrize("kind", ["a folder that is a file", "no such bucket", "nobody answers"])
async def test_a_place_that_does_not_work_is_unavailable(
    kind: str, in_folder: Settings, in_bucket: Settings, tmp_path: Path
) -> None:
    settings = in_folder if kind == "a folder that is a file" else in_bucket
    store = await broken(kind, settings)
    async with asyncio.timeout(TIMEOUT):
        for call in (
            store.put("name", blocks(500)),
            store.fetch("name", tmp_path / "target"),
            store.older_than(datetime.now(UTC), limit=1),
        ):
            with pytest.raises(StorageUnavailableError) as caught:
                await call
            assert str(caught.value) == StorageUnavailableError.default_message


async def test_a_prefix_is_not_the_whole_bucket(in_bucket: Settings) -> None:
    other = in_bucket.model_copy(update={"uploads_url": f"s3://{BUCKET}/other"})
    await upload_store(other).put("name", blocks(1))

    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert await upload_store(in_bucket).older_than(soon, limit=10) == []
    assert await upload_store(other).older_than(soon, limit=10) == ["name"]
    await upload_store(other).remove("name")


def test_variables_the_library_refuses_name_the_setting(
    in_bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps")

    with pytest.raises(ConfigurationError, match="UPLOADS_URL") as caught:
        upload_store(in_bucket)
    assert "\n" not in str(caught.value)
