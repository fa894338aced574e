"""More requests than the service carries, and clients that take their time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import URL
from tests.support.databases import dsn, temporary_database
from tests.support.local_servers import LocalServer, local_server
from tests.support.metrics import MetricsScrape, scrape_metrics
from tests.support.timeouts import NO_LIMIT, TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.core.errors import OverloadedError

pytestmark = pytest.mark.integration

MOST = 2
# Seconds that the impatient server waits for a request.
IMPATIENCE = 0.2


@pytest.fixture(scope="module")
async def url(server_url: URL, template: str) -> AsyncIterator[URL]:
    """A database that the tests here share: they lock its tables and store nothing."""
    async with temporary_database(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def limited(
    url: URL, on_database: Callable[[URL], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings with room for two requests at a time, which may take for ever to arrive."""
    changed = {
        "data_dir": tmp_path_factory.mktemp("overload"),
        "max_requests_in_progress": MOST,
        "request_arrival_timeout": NO_LIMIT,
    }
    return on_database(url).model_copy(update=changed)


@pytest.fixture(scope="module")
async def server(limited: Settings) -> AsyncIterator[LocalServer]:
    async with local_server(limited) as server:
        yield server


@pytest.fixture(scope="module")
async def impatient(limited: Settings) -> AsyncIterator[LocalServer]:
    """A server that counts its seconds from a request's first byte, however long that takes."""
    changed = {"request_arrival_timeout": IMPATIENCE}
    async with local_server(limited.model_copy(update=changed), wait_for_data=True) as server:
        yield server


@asynccontextmanager
async def locked(url: URL, table: str) -> AsyncIterator[None]:
    """Keep everybody else from reading a table."""
    connection = await asyncpg.connect(dsn(url))
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"LOCK TABLE {table}")
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def until_so_many_are_in(server: LocalServer, count: int) -> None:
    async def are_in() -> bool:
        return bool(server.app.state.admission.in_progress == count)

    await wait_for(are_in, f"{count} are in")


@asynccontextmanager
async def held(url: URL, server: LocalServer) -> AsyncIterator[list[asyncio.Task[int]]]:
    """As many requests as are let in, which cannot go on before the end of the block."""
    async with server.client() as client:

        async def ask() -> int:
            return (await client.get("/deals")).status_code

        async with locked(url, "deals"):
            asking = [asyncio.create_task(ask()) for _ in range(MOST)]
            await until_so_many_are_in(server, MOST)
            yield asking
        await asyncio.gather(*asking)


async def test_what_is_too_much_is_refused_at_once(url: URL, server: LocalServer) -> None:
    async with server.client() as client:
        async with held(url, server) as asking:
            before = shed(await scrape_metrics(client))
            refused = await client.get("/deals/1", headers={"X-Request-ID": "mine"})
            # What is asked for just then is answered.
            assert (await client.get("/health")).status_code == 200
            told = await scrape_metrics(client)
            assert not any(each.done() for each in asking)
        assert [each.result() for each in asking] == [200, 200]
        # The same connection is heard again.
        assert (await client.get("/deals/1")).status_code == 404

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"] == "mine"
    assert refused.headers["content-type"] == "application/json"
    assert refused.json() == {
        "error": {
            "code": "SERVICE_UNAVAILABLE",
            "message": "Too many requests are in progress, try again shortly",
            "request_id": "mine",
        }
    }
    assert shed(told) == before + 1
    assert told.value("deals_http_requests_in_progress") == MOST


def shed(found: MetricsScrape) -> float:
    """How many requests this process has refused so far."""
    return found.value("deals_http_requests_shed_total")


async def test_refusals_of_all_kinds(url: URL, server: LocalServer) -> None:
    async with (
        server.client() as client,
        held(url, server),
    ):
        head = await client.head("/deals")
        post = await client.post("/deals", content=b"x" * 1_000_000)
        again = await client.get("/deals", headers={"X-Request-ID": "no\tsane one"})
        twice = [("X-Request-ID", "first"), ("X-Request-ID", "second")]
        named = await client.get("/deals", headers=twice)

    assert (head.status_code, head.content) == (503, b"")
    assert int(head.headers["content-length"]) > 0
    # Its body would have to be read first.
    assert (post.status_code, post.headers["connection"]) == (503, "close")
    assert again.status_code == 503
    assert len(again.headers["x-request-id"]) == 32
    assert (named.status_code, named.headers["x-request-id"]) == (503, "first")


async def test_what_comes_too_early_is_kept_until_it_is_its_time(
    url: URL, server: LocalServer
) -> None:
    """More than is kept at once, sent a moment after the refusal has come."""
    loop = asyncio.get_running_loop()
    body = json.dumps({"hotel_name": "x" * 500_000}).encode()
    post = (
        b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    async with held(url, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        asked = loop.time()
        writer.write(b"GET /deals HTTP/1.1\r\nHost: x\r\n\r\n")
        refused = await reader.readuntil(b"}}")
    # There is room when its time has come.
    writer.write(post + body + b"GET /deals/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(TIMEOUT):
        posted = await reader.readuntil(b"\r\n\r\n")
        waited = loop.time() - asked
        after = await reader.readuntil(b"Deal 1 does not exist")
    writer.close()
    await writer.wait_closed()

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert waited >= OverloadedError.retry_after
    assert posted.startswith(b"HTTP/1.1 422 ")
    assert b"HTTP/1.1 404 " in after


async def test_many_at_once_on_one_connection_are_not_all_answered(
    url: URL, server: LocalServer
) -> None:
    async with held(url, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /deals HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        async with asyncio.timeout(TIMEOUT):
            answers = await reader.read()
    writer.close()

    assert answers.count(b"HTTP/1.1 503 ") == 2
    assert answers.count(b"connection: close") == 1


async def test_nothing_counts_after_an_answer_that_closes(url: URL, server: LocalServer) -> None:
    """Who is told so sends the rest again (RFC 9112, section 9.6): it must not be done twice."""
    head = b"Host: x\r\nContent-Type: %s\r\nContent-Length: 3\r\n\r\nid,"
    async with held(url, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /deals HTTP/1.1\r\n" + head % b"application/json")
        writer.write(b"POST /imports HTTP/1.1\r\n" + head % b"text/csv")
        async with asyncio.timeout(TIMEOUT):
            answers = await reader.read()
    writer.close()
    async with server.client() as client:
        imports = (await client.get("/imports")).json()

    assert answers.count(b"HTTP/1.1 ") == 1
    assert imports["items"] == []


async def test_a_proxys_connection_outlives_refusals(url: URL, limited: Settings) -> None:
    """The deadline of a request that was refused is not that of the next ones."""
    changed = {
        "request_arrival_timeout": IMPATIENCE,
        "forwarded_allow_ips": ("127.0.0.0/8",),
    }
    async with local_server(limited.model_copy(update=changed), wait_for_data=True) as server:
        async with held(url, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for _ in range(6):
                writer.write(b"GET /deals HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 503 ")
                await asyncio.sleep(IMPATIENCE / 4)
        writer.write(b"GET /deals/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 404 ")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("proxies", [(), ("127.0.0.0/8",)], ids=["client", "proxy"])
async def test_who_comes_too_early_is_let_in_last(
    url: URL, limited: Settings, proxies: tuple[str, ...]
) -> None:
    """But for a proxy, whose next request is somebody else's."""
    changed = {"max_requests_in_progress": 3, "forwarded_allow_ips": proxies}
    request = b"GET /categories HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        local_server(limited.model_copy(update=changed)) as server,
        server.client() as client,
    ):
        async with locked(url, "deals"):
            asking = [asyncio.create_task(client.get("/deals")) for _ in range(2)]
            async with locked(url, "categories"):
                asking.append(asyncio.create_task(client.get("/categories")))
                await until_so_many_are_in(server, 3)
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(request)
                assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 503 ")
                if not proxies:
                    writer.write(request)
            # There is room for one, and still not for everybody.
            await until_so_many_are_in(server, 2)
            if proxies:
                writer.write(request)
            async with asyncio.timeout(TIMEOUT):
                answer = await reader.readuntil(b"\r\n\r\n")
        await asyncio.gather(*asking)
        writer.close()
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 200 " if proxies else b"HTTP/1.1 503 ")


async def test_who_waits_for_another_request_is_counted_too(url: URL, server: LocalServer) -> None:
    """The second of two pipelined requests, when its turn comes."""
    async with held(url, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /deals HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        async with asyncio.timeout(TIMEOUT):
            first = await reader.readuntil(b"}")
            second = await reader.readuntil(b"}}")
        writer.close()
        await writer.wait_closed()

    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second.startswith(b"HTTP/1.1 503 ")


async def test_an_upload_that_stalls_is_not_waited_for(impatient: LocalServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
    head = b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    writer.write(head + b"Content-Length: 100\r\n\r\nid,")
    async with asyncio.timeout(TIMEOUT):
        await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_requests_of_one_connection_wait_for_each_other(server: LocalServer) -> None:
    """Pipelined ones (RFC 9112, section 9.3.2) are answered in turn, whatever the limit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    request = b"GET /deals/%d HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(b"".join(request % number for number in range(1, 6)))
    answers = []
    for _ in range(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answers.append(json.loads(await reader.readexactly(length))["error"]["message"])
    writer.close()
    await writer.wait_closed()

    assert answers == [f"Deal {number} does not exist" for number in range(1, 6)]


NO_REQUESTS = [
    b"GET http://[ HTTP/1.1",
    b"GET http://x:99999999/deals HTTP/1.1",
    b"GET //:99999999/ HTTP/1.1",
    "GET /ü HTTP/1.1".encode(),
    b"CONNECT /deals HTTP/1.1",
    b"GET /deals HTTP/9.9",
    b"GET /deals HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket",
]


async def test_what_is_no_request_takes_nobodys_place(server: LocalServer) -> None:
    for request_line in NO_REQUESTS * MOST:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    async with server.client() as client:
        assert (await client.get("/deals")).status_code == 200

    assert server.app.state.admission.in_progress == 0


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\r\n", b""),
        (b"PUT /imports HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", b"HTTP/1.1 405 "),
        (b"GET /deals HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"HTTP/1.1 408 Request Timeout\r\n"),
        (b"GET /de", b"HTTP/1.1 408 Request Timeout\r\n"),
    ],
)
async def test_a_request_that_does_not_come_is_not_waited_for(
    impatient: LocalServer, sent: bytes, answer: bytes
) -> None:
    received = await sent_and_received(impatient, sent)

    assert received.startswith(answer)
    assert bool(received) == bool(answer)


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n\r\n"])
async def test_a_connection_that_asks_nothing_more_is_closed(
    limited: Settings, sent: bytes
) -> None:
    settings = limited.model_copy(update={"request_arrival_timeout": IMPATIENCE})
    async with local_server(settings, wait_for_data=bool(sent), timeout_keep_alive=1) as server:
        received = await sent_and_received(server, sent)

    assert received.startswith(b"HTTP/1.1 200 OK\r\n" if sent else b"")
    assert bool(received) == bool(sent)


async def sent_and_received(server: LocalServer, sent: bytes) -> bytes:
    """What comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    async with asyncio.timeout(TIMEOUT):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


async def test_a_body_that_does_not_come_holds_nothing(impatient: LocalServer) -> None:
    """No place among those let in, and no connection to the database."""
    head = b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    slow = []
    for _ in range(MOST):
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        writer.write(head + b"Content-Length: 100\r\n\r\n{")
        slow.append((reader, writer))
    async with impatient.client() as client:

        async def there_is_room() -> bool:
            return (await client.get("/deals")).status_code == 200

        await wait_for(there_is_room, "there is room")
        found = await scrape_metrics(client)
    for _, writer in slow:
        writer.close()
        await writer.wait_closed()

    assert found.value("deals_db_pool_connections", pool="write", state="in_use") == 0


@pytest.mark.slow
async def test_an_upload_may_take_its_time(own_settings: Settings) -> None:
    """More than others have, if only a little at a time."""
    # So far from what lies between two pieces that a busy machine makes no difference.
    changed = {"request_arrival_timeout": 5.0}
    async with local_server(own_settings.model_copy(update=changed)) as server:
        await upload_slowly(server, seconds=6)


async def upload_slowly(server: LocalServer, *, seconds: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = b"id,hotel_name\n" + b"1,x\n" * 10
    writer.write(
        b"POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    for index in range(len(body)):
        writer.write(body[index : index + 1])
        await asyncio.sleep(seconds / len(body))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 202 ")
