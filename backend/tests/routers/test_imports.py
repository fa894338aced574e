"""Uploads over HTTP: accepted files, refused files, and the stored import."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import URL
from tests.conftest import app_client
from tests.support.csv_files import as_csv, row
from tests.support.databases import as_text
from tests.support.imports import CSV, cancel, checked, find, stored_files, submit
from tests.support.stored_rows import execute, fetch_rows

from app.core.config import Settings
from app.db.session import Database
from app.main import create_app
from app.services.import_runner import ImportRunner
from app.services.keys import KeyService, Scope

pytestmark = pytest.mark.api

FILE = as_csv([row(1), row(2)]).encode()
LIMIT = 100_000


async def test_create_import_csv_file_returns_202_and_queues_job(
    api: httpx.AsyncClient, database: Database, own_settings: Settings
) -> None:
    response = await api.post("/imports", content=FILE, headers=CSV)

    assert response.status_code == 202
    made = checked(response.json())
    path = f"/imports/{made['id']}"
    assert response.headers["location"] == path
    assert made["links"] == {"self": path, "events": f"{path}/events", "rejects": None}
    expected: dict[str, Any] = {
        "state": "queued",
        "file_name": None,
        "strict": False,
        "dry_run": False,
        "bytes_total": len(FILE),
        "bytes_read": 0,
        "sha256": hashlib.sha256(FILE).hexdigest(),
        "rows_read": 0,
        "rows_per_second": 0,
        "warnings": [],
        "ignored_columns": [],
        "error": None,
        "retry_at": None,
        "created_by": "development",
        "started_at": None,
    }
    assert {name: made[name] for name in expected} == expected
    assert await find(api, made["id"]) == made
    jobs = "SELECT task_name, lock, status::text, (args->'import_id')::int FROM procrastinate_jobs"
    assert await fetch_rows(database, jobs) == [("load_import", "loading", "todo", made["id"])]
    assert len(stored_files(own_settings)) == 1


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("as_form", [False, True])
async def test_create_import_gzip_or_form_upload_loads_rows(
    api: httpx.AsyncClient, runner: ImportRunner, compressed: bool, as_form: bool
) -> None:
    body = gzip.compress(FILE) if compressed else FILE
    if as_form:
        response = await api.post("/imports", files={"file": ("../deals é.csv", body)})
    else:
        named = {**CSV, "Content-Disposition": 'attachment; filename="C:\\\\x\\\\a\x07.csv"'}
        response = await api.post("/imports", content=body, headers=named)
    made = checked(response.json())

    assert response.status_code == 202
    assert made["file_name"] == ("deals é.csv" if as_form else "a.csv")
    assert made["bytes_total"] == len(body)
    await runner.run(made["id"])
    done = await find(api, made["id"])
    assert (done["state"], done["inserted"], done["bytes_read"]) == ("succeeded", 2, len(body))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("strict=perhaps", "query.strict"),
        ("dry_run=", "query.dry_run"),
        ("force=2", "query.force"),
        ("dryrun=true", "query.dryrun"),
    ],
)
async def test_create_import_invalid_option_returns_422(
    api: httpx.AsyncClient, own_settings: Settings, query: str, named: str
) -> None:
    response = await api.post(f"/imports?{query}", content=FILE, headers=CSV)

    assert response.status_code == 422
    assert [each["field"] for each in response.json()["error"]["details"]] == [named]
    assert stored_files(own_settings) == []


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
async def test_create_import_same_bytes_returns_existing_import(
    api: httpx.AsyncClient, database: Database, own_settings: Settings, state: str
) -> None:
    made = await submit(api, FILE)
    ended = ", finished_at = now()" if state == "succeeded" else ""
    await execute(database, f"UPDATE imports SET state = '{state}'{ended}")
    before = stored_files(own_settings)

    response = await api.post("/imports", content=FILE, headers=CSV)

    assert response.status_code == 200
    assert "location" not in response.headers
    assert checked(response.json())["id"] == made["id"]
    assert response.json()["state"] == state
    assert stored_files(own_settings) == before
    assert len(await fetch_rows(database, "SELECT 1 FROM procrastinate_jobs")) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_create_import_after_failed_or_cancelled_one_returns_new_import(
    api: httpx.AsyncClient, database: Database, state: str
) -> None:
    made = await submit(api, FILE)
    await execute(database, f"UPDATE imports SET state = '{state}', finished_at = now()")

    assert (await submit(api, FILE))["id"] > made["id"]


@pytest.mark.parametrize("options", [{"force": True}, {"dry_run": True}, {"strict": True}])
async def test_create_import_same_bytes_with_other_options_returns_new_import(
    api: httpx.AsyncClient, options: dict[str, bool]
) -> None:
    made = await submit(api, FILE)
    other = await submit(api, FILE, **options)

    assert other["id"] > made["id"]
    assert (other["strict"], other["dry_run"]) == (
        options.get("strict", False),
        options.get("dry_run", False),
    )


async def test_create_import_after_dry_run_returns_new_import(api: httpx.AsyncClient) -> None:
    await submit(api, FILE, dry_run=True)

    await submit(api, FILE)


async def test_create_import_same_bytes_of_several_returns_latest_not_cancelled(
    api: httpx.AsyncClient,
) -> None:
    await submit(api, FILE)
    last = await submit(api, FILE, force=True)

    response = await api.post("/imports", content=FILE, headers=CSV)

    assert (response.status_code, response.json()["id"]) == (200, last["id"])
    await cancel(api, last["id"])
    response = await api.post("/imports", content=FILE, headers=CSV)
    assert (response.status_code, response.json()["id"]) == (200, last["id"] - 1)


async def test_create_import_concurrent_same_bytes_create_one_import(
    api: httpx.AsyncClient, own_settings: Settings, database: Database
) -> None:
    responses = await asyncio.gather(
        *(api.post("/imports", content=FILE, headers=CSV) for _ in range(8))
    )

    assert sorted(response.status_code for response in responses) == [200] * 7 + [202]
    assert len({checked(response.json())["id"] for response in responses}) == 1
    assert len(stored_files(own_settings)) == 1
    assert len(await fetch_rows(database, "SELECT 1 FROM procrastinate_jobs")) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (FILE, {"Content-Type": "application/json"}, 415),
        (FILE, {}, 415),
        (FILE, {**CSV, "Content-Encoding": "br"}, 415),
        (b"", CSV, 422),
        (FILE, {**CSV, "Content-Length": "100000000000"}, 413),
        (b"x" * (LIMIT + 1), CSV, 413),
        (FILE, {"Content-Type": "multipart/form-data; boundary=x"}, 422),
    ],
)
async def test_create_import_refused_upload_stores_nothing(
    own_settings: Settings, database: Database, body: bytes, headers: dict[str, str], status: int
) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    async with app_client(
        create_app(own_settings.model_copy(update={"max_upload_bytes": LIMIT}))
    ) as api:
        response = await api.post("/imports", content=blocks(), headers=headers)

    assert response.status_code == status, response.text
    assert response.json()["error"]["request_id"]
    assert stored_files(own_settings) == []
    assert await fetch_rows(database, "SELECT 1 FROM imports") == []


@pytest.mark.parametrize("table", ["imports", "procrastinate_jobs"])
async def test_create_import_database_failure_returns_503_and_stores_nothing(
    api: httpx.AsyncClient, own_settings: Settings, database: Database, table: str
) -> None:
    await execute(
        database,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'shut down' USING ERRCODE = '57P01'; END $$",
        f"CREATE TRIGGER fail BEFORE INSERT ON {table} EXECUTE FUNCTION fail()",
    )
    response = await api.post("/imports", content=FILE, headers=CSV)

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert stored_files(own_settings) == []
    assert await fetch_rows(database, "SELECT 1 FROM imports") == []


async def test_create_import_storage_failure_returns_503(
    api: httpx.AsyncClient, own_settings: Settings
) -> None:
    own_settings.data_dir.mkdir(exist_ok=True)
    (own_settings.data_dir / "uploads").write_text("a file where the folder should be")
    response = await api.post("/imports", content=FILE, headers=CSV)

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "STORAGE_UNAVAILABLE"
    assert str(own_settings.data_dir) not in response.text


@pytest.fixture
async def production_client(
    own_settings: Settings, clone_url: URL
) -> AsyncIterator[httpx.AsyncClient]:
    changes = {
        "app_env": "production",
        "database_url": SecretStr(as_text(clone_url)),
        "signing_key": SecretStr("k" * 32),
    }
    async with app_client(create_app(own_settings.model_copy(update=changes))) as client:
        yield client


MEBIBYTE = 1024 * 1024
IMPORT_ROUTES = [
    ("POST", "/imports"),
    ("GET", "/imports"),
    ("GET", "/imports/1"),
    ("DELETE", "/imports/1"),
    ("GET", "/imports/1/rejects"),
    ("GET", "/imports/1/events"),
]


@pytest.mark.parametrize(("method", "path"), IMPORT_ROUTES)
@pytest.mark.parametrize(("scope", "status"), [(None, 401), ("deals:write", 403)])
async def test_import_routes_without_scope_return_401_or_403(
    production_client: httpx.AsyncClient,
    own_settings: Settings,
    database: Database,
    method: str,
    path: str,
    scope: Scope | None,
    status: int,
) -> None:
    headers = dict(CSV)
    if scope is not None:
        async with database.uow.begin() as session:
            headers["X-API-Key"] = await KeyService(session).create("other", [scope])

    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        yield FILE
        while read < 64 * MEBIBYTE:
            read += MEBIBYTE
            yield bytes(MEBIBYTE)

    response = await production_client.request(
        method, path, content=body() if method == "POST" else None, headers=headers
    )

    assert response.status_code == status
    # The early response drains a bounded part of the body, and the service stores none of it.
    assert read < 10 * MEBIBYTE
    assert stored_files(own_settings) == []


@pytest.mark.parametrize("scope", ["imports:write", "admin"])
async def test_create_import_with_scope_records_key_name(
    production_client: httpx.AsyncClient, database: Database, scope: Scope
) -> None:
    async with database.uow.begin() as session:
        key = await KeyService(session).create("nightly", [scope])
    production_client.headers["Authorization"] = f"Bearer {key}"
    made = await submit(production_client, FILE)

    assert made["created_by"] == "nightly"
    assert (await find(production_client, made["id"]))["created_by"] == "nightly"
