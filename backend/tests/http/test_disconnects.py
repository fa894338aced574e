"""Clients that disconnect in the middle of a request, over real connections."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.routers.bodies import DEAL, HOTEL
from tests.support.local_servers import LocalServer, local_server

from app.core.config import Settings
from app.db.session import Database
from app.services.verification import VerificationService

pytestmark = pytest.mark.integration

POOL_SIZE = 2


@pytest.fixture
async def server(
    own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[LocalServer]:
    """Start a server with pools of two connections, so that the tests notice a leak."""
    changed = {"db_pool_size": POOL_SIZE, "db_max_overflow": 0}
    async with local_server(own_settings.model_copy(update=changed)) as server:
        yield server
    assert not [record for record in caplog.get_records("call") if record.exc_info]


async def send_and_disconnect(port: int, request: bytes, sent: int) -> None:
    """Send the first bytes of a request, and hang up without reading."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request[:sent])
    await writer.drain()
    writer.transport.abort()


async def test_create_deal_client_disconnects_leaves_no_partial_write(
    server: LocalServer, database: Database
) -> None:
    async with server.client() as client:
        hotel = (await client.post("/hotels", json=HOTEL)).json()
        body = json.dumps({**DEAL, "external_id": None, "hotel_id": hotel["id"]}).encode()
        head = (
            f"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        request = head + body
        cut_offs = [len(head) // 2, len(head), len(request) - 1, len(request)]

        await asyncio.gather(
            *(send_and_disconnect(server.port, request, cut_off) for cut_off in cut_offs * 10)
        )
        # More requests than pooled connections: a leaked connection would make some of them fail.
        later = await asyncio.gather(*(client.get("/deals?limit=1") for _ in range(4 * POOL_SIZE)))
        made = await asyncio.gather(
            *(
                client.post("/deals", content=body, headers=JSON_HEADERS)
                for _ in range(4 * POOL_SIZE)
            )
        )
        total = (await client.get("/deals?limit=1")).json()["total"]

    assert {response.status_code for response in later} == {200}
    assert {response.status_code for response in made} == {201}
    # A deal of a complete request may be stored. No other deal may be.
    assert 4 * POOL_SIZE <= total <= 4 * POOL_SIZE + 10
    async with database.uow.begin() as session:
        assert await VerificationService(session).verify(fix=False) == []


JSON_HEADERS = {"Content-Type": "application/json"}
