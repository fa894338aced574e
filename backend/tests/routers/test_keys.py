"""Authentication of writes by API keys, in production and in development."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import URL, select, text
from tests.conftest import app_client
from tests.routers.bodies import HOTEL
from tests.support.api_keys import create_api_key
from tests.support.databases import as_text

from app.core.config import Settings
from app.core.errors import ConflictError, NotFoundError
from app.db.session import Database
from app.main import create_app
from app.models import ApiKey
from app.services import keys
from app.services.keys import KeyService, Scope

pytestmark = pytest.mark.api

WRITE_ROUTES = [
    ("POST", "/hotels"),
    ("PATCH", "/hotels/1"),
    ("DELETE", "/hotels/1"),
    ("POST", "/deals"),
    ("PATCH", "/deals/1"),
    ("DELETE", "/deals/1"),
]


@pytest.fixture
async def development_client(
    clone_url: URL, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    url = SecretStr(as_text(clone_url))
    async with app_client(create_app(settings.model_copy(update={"database_url": url}))) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), WRITE_ROUTES)
async def test_write_in_production_without_key_returns_401(
    production_client: httpx.AsyncClient, method: str, path: str
) -> None:
    """The check precedes the validation of the body, so a client without a key learns no rules."""
    response = await production_client.request(method, path, content=b"{")

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "UNAUTHORIZED"
    assert response.headers["www-authenticate"] == "Bearer"


async def test_read_in_production_without_key_returns_200(
    production_client: httpx.AsyncClient,
) -> None:
    for path in ("/deals", "/hotels", "/categories", "/deals/stats", "/health"):
        assert (await production_client.get(path)).status_code == 200


@pytest.mark.parametrize("scope", ["deals:write", "admin"])
async def test_write_with_scoped_key_in_either_header_succeeds(
    production_client: httpx.AsyncClient, database: Database, scope: Scope
) -> None:
    key = await create_api_key(database, "ci", scope)

    bearer = {"Authorization": f"Bearer {key}"}
    assert (await production_client.post("/hotels", json=HOTEL, headers=bearer)).status_code == 201
    header = {"X-API-Key": key}
    assert (await production_client.delete("/hotels/1", headers=header)).status_code == 204


async def test_write_with_key_of_other_scope_returns_403(
    production_client: httpx.AsyncClient, database: Database
) -> None:
    key = await create_api_key(database, "ci", "imports:write")

    response = await production_client.post("/hotels", json=HOTEL, headers={"X-API-Key": key})

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "FORBIDDEN"


async def test_write_with_invalid_key_returns_401_in_any_environment(
    production_client: httpx.AsyncClient, development_client: httpx.AsyncClient, database: Database
) -> None:
    key = await create_api_key(database, "ci", "admin")
    prefix, lookup, secret = key.split("_", 2)

    for wrong in (
        "x",
        "hd_",
        f"{prefix}_{lookup}_",
        f"{prefix}_{lookup}_{secret}x",
        f"{prefix}_{lookup}_{secret[:-1]}",
        f"{prefix}_{'0' * 12}_{secret}",
        f"XX_{lookup}_{secret}",
        "hd_' OR 1=1 --_x",
        "hd_" + "a" * 5000,
    ):
        for client in (production_client, development_client):
            response = await client.post("/hotels", json=HOTEL, headers={"X-API-Key": wrong})
            assert response.status_code == 401, wrong
            assert secret not in response.text


async def test_write_in_development_without_key_returns_201(
    development_client: httpx.AsyncClient,
) -> None:
    assert (await development_client.post("/hotels", json=HOTEL)).status_code == 201


async def test_write_with_revoked_key_after_cache_expiry_returns_401(
    production_client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "CACHE_SECONDS", 0.0)
    headers = {"X-API-Key": await create_api_key(database, "ci", "admin")}
    assert (await production_client.post("/hotels", json=HOTEL, headers=headers)).status_code == 201

    async with database.uow.begin() as session:
        await KeyService(session).revoke("ci")

    assert (await production_client.delete("/hotels/1", headers=headers)).status_code == 401


async def fetch_api_key(database: Database) -> ApiKey:
    async with database.uow.begin() as session:
        return (await session.scalars(select(ApiKey))).one()


async def test_api_key_used_often_stores_hash_and_last_use_once_a_minute(
    production_client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "CACHE_SECONDS", 0.0)
    key = await create_api_key(database, "ci", "admin")
    before = await fetch_api_key(database)
    assert before.last_used_at is None
    assert key.split("_", 2)[2].encode() not in before.secret_hash

    headers = {"X-API-Key": key}
    uses: list[datetime | None] = []
    for _ in range(3):
        await production_client.delete("/hotels/1", headers=headers)
        uses.append((await fetch_api_key(database)).last_used_at)
    assert uses[0] is not None
    assert len(set(uses)) == 1

    async with database.uow.begin() as session:
        await session.execute(text("UPDATE api_keys SET last_used_at = now() - interval '2 min'"))
    await production_client.delete("/hotels/1", headers=headers)
    again = (await fetch_api_key(database)).last_used_at
    assert again is not None
    assert datetime.now(UTC) - again < timedelta(minutes=1)


async def test_api_key_duplicate_name_or_second_revoke_raises(database: Database) -> None:
    await create_api_key(database, "ci", "admin")
    with pytest.raises(ConflictError, match="name"):
        await create_api_key(database, "ci", "admin")

    async with database.uow.begin() as session:
        await KeyService(session).revoke("ci")
    with pytest.raises(NotFoundError):
        async with database.uow.begin() as session:
            await KeyService(session).revoke("ci")


async def test_openapi_write_operations_declare_both_key_schemes(
    development_client: httpx.AsyncClient,
) -> None:
    document = (await development_client.get("/openapi.json")).json()

    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    for method, path in WRITE_ROUTES:
        template = path.replace("/1", "/{deal_id}" if "deals" in path else "/{hotel_id}")
        security: Sequence[object] = document["paths"][template][method.lower()]["security"]
        assert len(security) == 2
    assert document["paths"]["/deals"]["get"]["security"] == []
