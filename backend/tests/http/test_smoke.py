"""Load, query and export on each supported version of PostgreSQL."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import URL
from tests.conftest import app_client
from tests.support.databases import as_text, pools, temporary_database

from app.core.config import Settings
from app.db.migrations import upgrade_async
from app.ingestion.generator import generate
from app.main import create_app
from app.services.loading import LoadingService
from app.services.verification import VerificationService

pytestmark = pytest.mark.api


async def test_service_on_each_postgresql_migrates_loads_and_serves(
    version_url: URL, settings: Settings, tmp_path: Path
) -> None:
    generate(tmp_path / "deals.csv", rows=500)
    async with temporary_database(version_url) as url:
        await upgrade_async(as_text(url))
        async with pools(url, settings) as database:
            summary = await LoadingService(database).load(tmp_path / "deals.csv")
            async with database.uow.begin() as session:
                drift = await VerificationService(session).verify(fix=False)
        changes = {"database_url": SecretStr(as_text(url))}
        async with app_client(create_app(settings.model_copy(update=changes))) as client:
            page = (await client.get("/deals?min_stars=3&sort=-price_per_night&q=a")).json()
            first_page = (await client.get("/deals?limit=1")).json()
            cities = (await client.get("/deals/stats")).json()
            estimated = (await client.get("/deals?price_min=1&count=estimated")).json()
            created = await client.post(
                "/hotels",
                json={"name": "New", "city": "Köln", "country": "Germany", "phone": "+49"},
            )

    assert summary.inserted == first_page["total"] == estimated["total"] == 500
    assert drift == []
    assert page["items"]
    assert sum(city["deal_count"] for city in cities) == 500
    assert created.status_code == 201
