"""An attempt that ends after the last chunk is stored and before the end is recorded."""

from pathlib import Path

import httpx
import pytest
from tests.jobs.workers import deals_csv, get_import, upload
from tests.support.stored_rows import content

from app.core.config import Settings
from app.db.session import Database
from app.services import import_runner
from app.services.import_runner import ImportRunner
from app.storage.uploads import upload_store

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("strict", [True, False])
async def test_import_interrupted_before_its_end_keeps_counters(
    strict: bool,
    api: httpx.AsyncClient,
    database: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = await upload(api, deals_csv(tmp_path / "deals.csv", 100), strict=strict)
    uploads = upload_store(settings.model_copy(update={"data_dir": tmp_path / "data"}))
    runner = ImportRunner(database, uploads)

    async def skip_end(*_: object) -> None:
        """Record no end."""

    with monkeypatch.context() as patched:
        patched.setattr(import_runner, "_end", skip_end)
        await runner.run(made["id"])
    assert len(await content(database)) == 100
    await runner.run(made["id"])

    done = await get_import(api, made)
    assert (done["state"], done["inserted"], done["unchanged"]) == ("succeeded", 100, 0)
