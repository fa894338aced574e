"""Exports over real connections: disconnects, stalls, too many at once, and errors."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import asyncpg
import httpx
import pytest
from sqlalchemy import URL
from tests.support.databases import as_text, dsn, temporary_database
from tests.support.local_servers import LocalServer, local_server
from tests.support.servers import running_server
from tests.support.timeouts import NO_LIMIT
from tests.support.waiting import wait_for

from app.core.config import Settings

pytestmark = pytest.mark.integration

# More than all buffers hold: 4 MB as NDJSON, 0.8 MB as gzip, because names are random.
ROWS = 6_000
# Buffer sizes of the server's and the client's socket. The kernel doubles them.
BUFFER_BYTES = 16_384
_INSERT_DEALS = """
INSERT INTO deals (external_id, hotel_id, room_type, star_rating, price_per_night, original_price,
    discount_percent, checkin_date, checkout_date)
SELECT CASE WHEN n % 3 > 0 THEN n END, 1 + n % 1000, 'suite', 4, 80, 100, 20, '2027-03-01',
    '2027-03-05'
FROM generate_series({first}, {last}) AS n;
"""
INSERT_CATALOG = f"""
INSERT INTO hotels (name, city, country, phone)
SELECT translate(encode(sha512(n::text::bytea) || sha512((-n)::text::bytea), 'base64'), E'\\n', ''),
    'Berlin', 'Germany', n::text
FROM generate_series(1, 1000) AS n;
{_INSERT_DEALS.format(first=1, last=ROWS)}
"""
# Five times as many rows.
INSERT_MORE_DEALS = _INSERT_DEALS.format(first=ROWS + 1, last=5 * ROWS)
COUNT_EXPORT_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'hotel-deals-export' AND datname = current_database()
"""
LAST_CHUNK = b"0\r\n\r\n"

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(scope="module")
async def template_with_deals(server_url: URL, template: str) -> AsyncIterator[str]:
    """Return the name of a database with deals, to clone."""
    async with temporary_database(server_url, template) as url:
        connection = await asyncpg.connect(dsn(url))
        await connection.execute(INSERT_CATALOG)
        await connection.close()
        assert url.database
        yield url.database


@pytest.fixture
async def url(server_url: URL, template_with_deals: str) -> AsyncIterator[URL]:
    async with temporary_database(server_url, template_with_deals) as url:
        yield url


@pytest.fixture
async def sql(url: URL) -> AsyncIterator[Sql]:
    connection = await asyncpg.connect(dsn(url))
    yield connection
    await connection.close()


@pytest.fixture
def single_export_settings(
    url: URL, on_database: Callable[[URL], Settings], tmp_path: Path
) -> Settings:
    """Return settings that allow one export, so that the tests notice a leak."""
    changed = {
        "data_dir": tmp_path / "data",
        "export_concurrency": 1,
        "export_stall_timeout": NO_LIMIT,
    }
    return on_database(url).model_copy(update=changed)


@pytest.fixture
async def server(
    single_export_settings: Settings, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[LocalServer]:
    async with local_server(single_export_settings, send_buffer=BUFFER_BYTES) as running:
        yield running


class ExportClient:
    """A client with a small buffer that reads only on request."""

    def __init__(self, port: int, *headers: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)  # noqa: FBT003 - the only argument
        lines = ["GET /deals/export HTTP/1.1", "Host: x", "Accept: application/x-ndjson", *headers]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    async def read(self, minimum: int | None = None) -> bytes:
        """Read at least `minimum` bytes, or all until the connection ends."""
        received = bytearray()
        try:
            while minimum is None or len(received) < minimum:
                piece = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
                if not piece:
                    break
                received += piece
        except ConnectionResetError:
            pass
        return bytes(received)

    def disconnect(self) -> None:
        self._socket.close()


@asynccontextmanager
async def open_client(port: int, *headers: str) -> AsyncIterator[ExportClient]:
    client = ExportClient(port, *headers)
    try:
        yield client
    finally:
        client.disconnect()


def open_client_of(server: LocalServer, *headers: str) -> AbstractAsyncContextManager[ExportClient]:
    return open_client(server.port, *headers)


async def wait_for_exports(sql: Sql, number: int) -> None:
    """Wait until PostgreSQL has so many connections of exports."""

    async def has_connections() -> bool:
        return bool(await sql.fetchval(COUNT_EXPORT_CONNECTIONS) == number)

    await wait_for(has_connections, f"{number} connections of exports")


async def wait_for_free_slot(server: LocalServer) -> None:
    """Wait until an export is admitted, a moment after another one has ended."""
    async with server.client() as client:

        async def is_free() -> bool:
            return (await client.get("/deals/export?city=Atlantis")).status_code != 503

        await wait_for(is_free, "another export may begin")


async def export_all_deals(server: LocalServer) -> list[dict[str, object]]:
    await wait_for_free_slot(server)
    async with server.client() as client:
        response = await client.get("/deals/export", headers={"Accept": "application/x-ndjson"})
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_export_client_disconnects_frees_connection(
    server: LocalServer, sql: Sql, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    for _ in range(2):
        await wait_for_free_slot(server)
        async with open_client_of(server, f"Accept-Encoding: {encoding}") as client:
            await client.read(1000)
            await wait_for_exports(sql, 1)
            client.disconnect()
            await wait_for_exports(sql, 0)

    assert len(await export_all_deals(server)) == ROWS
    assert "Traceback" not in caplog.text


async def test_export_pipelining_client_disconnects_frees_connection(
    single_export_settings: Settings, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    """The export fails to send: uvicorn reports a disconnect only to the pipelined request."""
    pipelined_request = "Accept-Encoding: identity\r\n\r\nGET /deals HTTP/1.1\r\nHost: x"
    async with local_server(single_export_settings, send_buffer=BUFFER_BYTES) as server:
        async with open_client_of(server, pipelined_request) as client:
            await client.read(1000)
            await wait_for_exports(sql, 1)
            client.disconnect()
            await wait_for_exports(sql, 0)

        assert len(await export_all_deals(server)) == ROWS
    # No stream was left for the server to cut off.
    assert "Cancel" not in caplog.text


async def test_export_client_disconnects_before_first_row_frees_connection(
    server: LocalServer, sql: Sql, url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    # Use another connection, because pg_stat_activity does not change within a transaction.
    locking = await asyncpg.connect(dsn(url))
    async with locking.transaction():
        await locking.execute("LOCK TABLE deals IN ACCESS EXCLUSIVE MODE")
        async with open_client_of(server) as client:
            await wait_for_exports(sql, 1)
            client.disconnect()
            await wait_for_exports(sql, 0)
    await locking.close()

    assert "Traceback" not in caplog.text


async def test_export_stalled_client_is_cut_off(
    single_export_settings: Settings, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    short_timeout = single_export_settings.model_copy(update={"export_stall_timeout": 0.3})
    async with local_server(short_timeout, send_buffer=BUFFER_BYTES) as server:
        async with open_client_of(server) as client:
            # The client reads for a while, and then stops.
            beginning = await client.read(BUFFER_BYTES)
            await wait_for_exports(sql, 0)
            rest = await client.read()
        await wait_for_free_slot(server)

    assert beginning.startswith(b"HTTP/1.1 200")
    assert not (beginning + rest).endswith(LAST_CHUNK)
    assert "response cut off: ClientStalledError" in caplog.text


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_export_database_error_midway_truncates_response(
    server: LocalServer, sql: Sql, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    async with open_client_of(server, f"Accept-Encoding: {encoding}") as client:
        beginning = await client.read(1000)
        await wait_for_exports(sql, 1)
        await sql.execute(COUNT_EXPORT_CONNECTIONS.replace("count(*)", "pg_terminate_backend(pid)"))
        await wait_for_exports(sql, 0)
        rest = await client.read()
    await wait_for_free_slot(server)

    assert not (beginning + rest).endswith(LAST_CHUNK)
    assert "response cut off: ServiceUnavailableError" in caplog.text
    with pytest.raises(httpx.RemoteProtocolError, match=r"peer closed|disconnected"):
        await terminate_export_while_reading(server, sql)


async def terminate_export_while_reading(server: LocalServer, sql: Sql) -> None:
    """End the export while an HTTP library reads it."""
    headers = {"Accept": "application/x-ndjson", "Accept-Encoding": "identity"}
    async with (
        server.client() as client,
        client.stream("GET", "/deals/export", headers=headers) as response,
    ):
        assert response.status_code == 200
        await wait_for_exports(sql, 1)
        await sql.execute(COUNT_EXPORT_CONNECTIONS.replace("count(*)", "pg_terminate_backend(pid)"))
        async for _ in response.aiter_bytes():
            pass


async def test_export_database_error_before_first_row_returns_503(
    server: LocalServer, sql: Sql
) -> None:
    await sql.execute("ALTER TABLE hotels RENAME COLUMN phone TO telephone")
    async with server.client() as client:
        response = await client.get("/deals/export")

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert "content-disposition" not in response.headers


async def test_export_over_concurrency_limit_returns_503(server: LocalServer, sql: Sql) -> None:
    async with open_client_of(server) as client, server.client() as other:
        await wait_for_exports(sql, 1)
        refused = await other.get("/deals/export")
        listed = await other.get("/deals")
        await client.read(1000)
        await wait_for_exports(sql, 1)

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "10"
    assert refused.json()["error"]["message"] == "Too many exports are running, try again later"
    assert listed.status_code == 200


@pytest.mark.parametrize(
    "accept", ["text/csv", pytest.param("application/x-ndjson", marks=pytest.mark.slow)]
)
async def test_export_concurrent_writes_returns_snapshot(
    server: LocalServer, sql: Sql, accept: str
) -> None:
    async with server.client() as client:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        before = (await client.get("/deals/export", headers=headers)).content
        async with client.stream("GET", "/deals/export", headers=headers) as response:
            await wait_for_exports(sql, 1)
            await sql.execute(
                "UPDATE deals SET price_per_night = 1;"
                "DELETE FROM deals WHERE id % 2 = 0;"
                "UPDATE hotels SET name = name || '!';"
                "INSERT INTO categories (name) VALUES ('new');"
                "INSERT INTO deal_categories SELECT deals.id, categories.id FROM deals, categories;"
            )
            during = b"".join([piece async for piece in response.aiter_bytes()])
        after = (await client.get("/deals/export", headers=headers)).content

    assert during == before
    assert len(after) < len(before) * 0.7


@pytest.mark.slow
async def test_export_large_table_uses_constant_memory(url: URL, sql: Sql, tmp_path: Path) -> None:
    await sql.execute(INSERT_MORE_DEALS)
    async with running_server(as_text(url), tmp_path) as server:
        await read_all(server.port)
        before = resident_bytes(server.pid)
        highest = 0
        async with open_client(server.port) as client:
            while await client.read(1_000_000):
                highest = max(highest, resident_bytes(server.pid))

    # Far less than the 20 MB of the export.
    assert highest - before < 8_000_000


async def read_all(port: int) -> None:
    async with open_client(port) as client:
        while await client.read(1_000_000):
            pass


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
