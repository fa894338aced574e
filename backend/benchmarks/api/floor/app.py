"""The floor's application, with one `if` per route."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import asyncpg

from benchmarks.api.floor.http import Answer
from benchmarks.api.floor.reads import Reads
from benchmarks.api.floor.writes import Writes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Floor:
    """The ASGI application. Its pool opens and closes with the server."""

    def __init__(self) -> None:
        self._reads: Reads
        self._writes: Writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        status, headers, body = await self._answer(scope, receive)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        pool = await asyncpg.create_pool(
            os.environ["FLOOR_DSN"],
            min_size=int(os.environ["DB_POOL_SIZE"]),
            max_size=int(os.environ["DB_POOL_SIZE"]) + int(os.environ["DB_MAX_OVERFLOW"]),
            server_settings={"jit": "off", "timezone": "UTC", "application_name": "floor"},
            # The floor changes no session state, so asyncpg needs no reset statement.
            reset=_no_reset,
        )
        key = os.environ["SIGNING_KEY"].encode()
        self._reads, self._writes = Reads(pool, key), Writes(pool)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = scope["path"]
        if scope["method"] == "GET":
            return await self._get(path, scope)
        body = await _body(receive)
        if path == "/deals":
            if scope["query_string"] == b"by=two":
                return await self._writes.create_by_two(body)
            return await self._writes.create(body)
        if path == "/deals/bulk":
            return await self._writes.create_many(body)
        return await self._writes.change(int(path[7:]), body)

    async def _get(self, path: str, scope: Scope) -> Answer:
        if path == "/deals":
            return await self._reads.deals(scope["query_string"])
        if path == "/deals/stats":
            return await self._reads.statistics()
        if path == "/hotels":
            return await self._reads.hotels(scope["query_string"])
        tag = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        return await self._reads.deal(int(path[7:]), tag)


async def _no_reset(_: object) -> None:
    pass


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


app = Floor()
