"""Server-Sent Events of an import."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, sse
from tests.support.csv_files import row
from tests.support.database_faults import failing, wait_for_rows
from tests.support.imports import cancel, checked, find, submit
from tests.support.listeners import LISTENING, NO_LISTENERS
from tests.support.stored_rows import execute, fetch_rows
from tests.support.timeouts import NO_LIMIT, TIMEOUT

from app.core.config import Settings
from app.db.session import Database
from app.main import create_app
from app.schemas.imports import ImportResponse
from app.services import imports
from app.services.import_runner import ImportRunner
from app.services.imports import ImportService

pytestmark = pytest.mark.api

ROWS = [row(number) for number in range(1, 31)]


@pytest.fixture
async def app(own_settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(own_settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def service(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> ImportService:
    """Yield a service without pauses between events, which relies on notifications alone."""
    monkeypatch.setattr(imports, "SHORTEST_PAUSE", 0)
    monkeypatch.setattr(imports, "LONGEST_SILENCE", NO_LIMIT)
    found: ImportService = app.state.services.imports
    return found


def parse_events(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the data of each event. Comments are skipped."""
    blocks = [each for each in response.text.split("\n\n") if each and not each.startswith(":")]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [checked(json.loads(block.removeprefix("data: "))) for block in blocks]


async def next_change(changes: AsyncIterator[ImportResponse]) -> ImportResponse:
    async with asyncio.timeout(TIMEOUT):
        return await anext(changes)


async def test_import_events_finished_import_sends_one_event(
    api: httpx.AsyncClient, runner: ImportRunner
) -> None:
    made = await submit(api, ROWS)
    await runner.run(made["id"])
    response = await api.get(made["links"]["events"])

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert parse_events(response) == [await find(api, made["id"])]


async def test_import_events_running_import_sends_first_to_final_state(
    api: httpx.AsyncClient, service: ImportService, runner: ImportRunner, database: Database
) -> None:
    made = await submit(api, ROWS)
    watching = asyncio.create_task(api.get(made["links"]["events"]))
    await wait_for_rows(database, LISTENING)
    await runner.run(made["id"])
    async with asyncio.timeout(TIMEOUT):
        told = parse_events(await watching)

    assert told[0]["state"] == "queued"
    assert told[-1] == await find(api, made["id"])
    assert told[-1]["state"] == "succeeded"
    read = [each["rows_read"] for each in told]
    assert read == sorted(read)
    shown = [(each["state"], each["rows_read"], each["inserted"]) for each in told]
    assert len(set(shown)) == len(shown)


async def test_import_events_each_change_is_sent_immediately(
    api: httpx.AsyncClient,
    service: ImportService,
    runner: ImportRunner,
    database: Database,
) -> None:
    made = await submit(api, ROWS)
    changes = service.changes(made["id"])
    assert (await next_change(changes))["state"] == "queued"
    waiting = asyncio.create_task(next_change(changes))
    await wait_for_rows(database, LISTENING)
    async with failing(database, "import_chunks", "NEW.number = 0"):
        await runner.run(made["id"])
    told = [await waiting]
    while told[-1]["error"] is None:
        told.append(await next_change(changes))
    assert told[-1]["state"] == "queued"
    waiting = asyncio.create_task(next_change(changes))
    await cancel(api, made["id"])
    assert (await waiting)["state"] == "cancelled"
    with pytest.raises(StopAsyncIteration):
        await next_change(changes)


async def test_import_events_unchanged_import_sends_nothing(
    api: httpx.AsyncClient, service: ImportService, database: Database
) -> None:
    made = await submit(api, ROWS)
    other = await submit(api, [row(1)])
    changes = service.changes(made["id"])
    await next_change(changes)
    waiting = asyncio.create_task(next_change(changes))
    await wait_for_rows(database, LISTENING)
    await execute(database, f"SELECT pg_notify('imports', '{made['id']}')")
    await cancel(api, other["id"])
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await cancel(api, made["id"])

    assert (await waiting)["state"] == "cancelled"


async def test_import_events_idle_stream_sends_keepalive(
    api: httpx.AsyncClient,
    service: ImportService,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.01)
    assert sse.KEEPALIVE_COMMENT == b": ping\n\n"
    made = await submit(api, ROWS)
    watching = asyncio.create_task(api.get(made["links"]["events"]))
    await wait_for_rows(database, LISTENING)
    await asyncio.wait([watching], timeout=0.5)
    await cancel(api, made["id"])
    response = await watching

    assert ": ping\n\n" in response.text
    assert [each["state"] for each in parse_events(response)] == ["queued", "cancelled"]


async def test_import_events_shutdown_ends_streams(
    app: FastAPI, api: httpx.AsyncClient, service: ImportService, database: Database
) -> None:
    made = await submit(api, ROWS)
    watching = [asyncio.create_task(api.get(made["links"]["events"])) for _ in range(3)]
    await wait_for_rows(database, LISTENING)
    service._listener.close()  # noqa: SLF001 - what the signal does
    async with asyncio.timeout(TIMEOUT):
        responses = await asyncio.gather(*watching)

    assert {response.status_code for response in responses} == {200}
    assert {len(parse_events(response)) for response in responses} <= {0, 1}


async def test_import_events_terminated_listener_loses_no_change(
    api: httpx.AsyncClient, service: ImportService, runner: ImportRunner, database: Database
) -> None:
    made = await submit(api, ROWS)
    changes = service.changes(made["id"])
    await next_change(changes)
    waiting = asyncio.create_task(next_change(changes))
    await wait_for_rows(database, LISTENING)
    await fetch_rows(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'hotel-deals listener'",
    )
    await cancel(api, made["id"])

    assert (await waiting)["state"] == "cancelled"


async def test_import_events_database_error_keeps_stream_open(
    api: httpx.AsyncClient, service: ImportService, database: Database
) -> None:
    """A 503 to a reconnecting client would end the stream for good in browsers."""
    made = await submit(api, ROWS)
    changes = service.changes(made["id"])
    await next_change(changes)
    waiting = asyncio.create_task(next_change(changes))
    await wait_for_rows(database, LISTENING)
    await execute(database, "ALTER TABLE import_chunks RENAME TO elsewhere")
    await execute(database, f"SELECT pg_notify('imports', '{made['id']}')")
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await execute(database, "ALTER TABLE elsewhere RENAME TO import_chunks")
    await cancel(api, made["id"])

    assert (await waiting)["state"] == "cancelled"


async def test_import_events_open_streams_hold_no_pooled_connection(
    app: FastAPI, api: httpx.AsyncClient, service: ImportService, database: Database
) -> None:
    made = await submit(api, ROWS)
    watching = [asyncio.create_task(api.get(made["links"]["events"])) for _ in range(30)]
    await wait_for_rows(database, LISTENING)
    responses = await asyncio.gather(*(api.get("/deals") for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    await cancel(api, made["id"])
    async with asyncio.timeout(TIMEOUT):
        told = [parse_events(response)[-1]["state"] for response in await asyncio.gather(*watching)]

    assert told == ["cancelled"] * 30
    await wait_for_rows(database, NO_LISTENERS)


async def test_import_events_unknown_import_returns_404(api: httpx.AsyncClient) -> None:
    response = await api.get("/imports/4711/events")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert (await api.get("/imports/1/events?x=1")).status_code == 422


async def test_import_events_head_request_returns_immediately(
    api: httpx.AsyncClient, database: Database
) -> None:
    made = await submit(api, ROWS)
    async with asyncio.timeout(TIMEOUT):
        response = await api.head(made["links"]["events"])

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].startswith("text/event-stream")
    await wait_for_rows(database, NO_LISTENERS)
    response = await api.head(f"/imports/{made['id']}/rejects")
    assert (response.status_code, response.content) == (200, b"")
    assert (await api.head("/imports/4711/events")).status_code == 404
