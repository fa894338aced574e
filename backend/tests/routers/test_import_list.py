"""`GET /imports`, page by page."""

from typing import Any

import httpx
import pytest
from tests.support.csv_files import row
from tests.support.imports import checked, find, submit
from tests.support.stored_rows import execute

from app.db.session import Database
from app.services.import_runner import ImportRunner

pytestmark = pytest.mark.api

_INSERT_IMPORTS = """
INSERT INTO imports (state, finished_at, strict, dry_run, bytes_total, sha256, created_by)
SELECT CASE n % 3 WHEN 0 THEN 'failed' WHEN 1 THEN 'queued' ELSE 'succeeded' END,
    CASE n % 3 WHEN 1 THEN NULL ELSE now() END, n % 2 = 0, false, n, sha256(n::text::bytea), 'me'
FROM generate_series(1, 25) AS n
"""


async def list_imports(api: httpx.AsyncClient, query: str) -> dict[str, Any]:
    response = await api.get(f"/imports{query}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    for each in found["items"]:
        checked(each)
    return found


async def test_list_imports_returns_newest_first(
    api: httpx.AsyncClient, database: Database
) -> None:
    await execute(database, _INSERT_IMPORTS)
    first = await list_imports(api, "")

    assert [each["id"] for each in first["items"]] == list(range(25, 5, -1))
    assert (first["total"], first["skip"], first["limit"]) == (25, 0, 20)
    assert first["next_cursor"] is not None
    assert first["items"][3] == await find(api, 22)


async def test_list_imports_empty_database_returns_empty_page(api: httpx.AsyncClient) -> None:
    expected = {"items": [], "total": 0, "skip": 0, "limit": 20, "next_cursor": None}
    assert await list_imports(api, "") == expected


async def test_list_imports_finished_imports_have_row_counters(
    api: httpx.AsyncClient, runner: ImportRunner
) -> None:
    for rows in ([row(1), row(2, id="x")], [row(3)]):
        await runner.run((await submit(api, rows))["id"])
    listed = await list_imports(api, "")

    assert listed["items"] == [await find(api, 2), await find(api, 1)]
    assert [each["inserted"] for each in listed["items"]] == [1, 1]
    assert [each["rejected"] for each in listed["items"]] == [0, 1]


async def test_list_imports_by_offset_returns_links(
    api: httpx.AsyncClient, database: Database
) -> None:
    await execute(database, _INSERT_IMPORTS)
    response = await api.get("/imports?limit=10&skip=10")

    assert [each["id"] for each in response.json()["items"]] == list(range(15, 5, -1))
    assert response.headers["link"] == (
        '</imports?limit=10>; rel="first", </imports?limit=10&skip=20>; rel="next"'
    )
    last = await api.get("/imports?limit=10&skip=20")
    assert len(last.json()["items"]) == 5
    assert last.headers["link"] == '</imports?limit=10>; rel="first"'
    beyond = await list_imports(api, "?skip=100")
    assert (beyond["items"], beyond["total"]) == ([], 25)


@pytest.mark.parametrize("query", ["limit=4", "limit=1&state=failed", "state=queued&limit=3"])
async def test_list_imports_by_cursor_while_rows_come_returns_whole_list(
    api: httpx.AsyncClient, database: Database, query: str
) -> None:
    await execute(database, _INSERT_IMPORTS)
    state = query.partition("state=")[2].partition("&")[0]
    whole = await list_imports(api, f"?limit=100&state={state}" if state else "?limit=100")
    expected = [each["id"] for each in whole["items"]]
    found: list[int] = []
    path: str | None = f"/imports?{query}"
    while path is not None:
        response = await api.get(path)
        body = response.json()
        found += [each["id"] for each in body["items"]]
        if "cursor" in path:
            assert (body["total"], body["skip"]) == (None, None)
        cursor = body["next_cursor"]
        path = f"/imports?{query}&cursor={cursor}" if cursor else None
        # New imports come before the first page, and do not change the later pages.
        await execute(
            database, _INSERT_IMPORTS.replace("generate_series(1, 25)", "generate_series(1, 1)")
        )

    assert found == expected


@pytest.mark.parametrize(
    ("state", "total"), [("queued", 9), ("failed", 8), ("succeeded", 8), ("cancelled", 0)]
)
async def test_list_imports_state_filter_returns_only_that_state(
    api: httpx.AsyncClient, database: Database, state: str, total: int
) -> None:
    await execute(database, _INSERT_IMPORTS)
    found = await list_imports(api, f"?state={state}")

    assert found["total"] == total == len(found["items"])
    assert {each["state"] for each in found["items"]} <= {state}


@pytest.mark.parametrize("count", ["exact", "estimated", "none"])
async def test_list_imports_count_parameter_controls_total(
    api: httpx.AsyncClient, database: Database, count: str
) -> None:
    await execute(database, _INSERT_IMPORTS)

    assert (await list_imports(api, f"?count={count}"))["total"] == (
        None if count == "none" else 25
    )


async def test_list_imports_cursor_of_other_list_returns_422(
    api: httpx.AsyncClient, database: Database
) -> None:
    await execute(
        database,
        _INSERT_IMPORTS,
        "INSERT INTO hotels (name, city, country, phone) "
        "SELECT 'Inn', 'Berlin', n::text, n::text FROM generate_series(1, 3) AS n",
    )
    of_all = (await list_imports(api, "?limit=1"))["next_cursor"]
    of_hotels = (await api.get("/hotels?limit=1")).json()["next_cursor"]
    for query in (f"state=failed&cursor={of_all}", f"cursor={of_hotels}", f"cursor={of_all}x"):
        response = await api.get(f"/imports?{query}")
        assert response.status_code == 422
        assert response.json()["error"]["details"][0]["field"] == "query.cursor"


@pytest.mark.parametrize(
    "query",
    ["state=done", "state=", "sort=id", "limit=0", "limit=101", "skip=-1", "skip=1&cursor=x"],
)
async def test_list_imports_invalid_query_returns_422(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/imports?{query}")).status_code == 422


@pytest.mark.parametrize("path", ["/imports/0", "/imports/x", "/imports/9223372036854775808"])
async def test_get_import_invalid_id_returns_422(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(path)).status_code == 422
    assert (await api.get("/imports/1?strict=true")).status_code == 422
