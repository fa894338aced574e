"""A response that is sent while it is made."""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

Write = Callable[[bytes], Coroutine[Any, Any, None]]

# Bytes sent at a time: less would cost more, and a slow client must take one in time.
_PIECE = 64 * 1024
# zlib's numbers for the format of gzip, and for a level that keeps up with the database.
_GZIP = 31
_LEVEL = 4


class ClientStalledError(Exception):
    """The client has read nothing for too long."""


class StreamedResponse(Response):
    """A response whose body is written while it is sent, no faster than the client reads.

    It starts with the first piece: what fails before is answered as in any other route. What fails
    later leaves the response incomplete. Servers then close the connection without the last chunk,
    so that no client takes the part for the whole. A client that goes away, or reads nothing for
    `patience` seconds, ends the writing at once. `HEAD` writes nothing.
    """

    def __init__(
        self,
        produce: Callable[[Write], Awaitable[None]],
        headers: Mapping[str, str],
        *,
        gzip: bool,
        patience: float,
    ) -> None:
        super().__init__(headers=headers)
        # What is not known yet.
        del self.headers["content-length"]
        self._produce = produce
        self._gzip = gzip
        self._patience = patience
        if gzip:
            self.headers["Content-Encoding"] = "gzip"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = _Body(self, send, self._patience, gzip=self._gzip)
        if not scope["state"]["wants_body"]:
            await body.close()
            return
        gone = asyncio.ensure_future(_disconnected(receive))
        work = asyncio.ensure_future(self._write(body))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                _report(work, body, scope["state"]["request_id"])
            else:
                # Raises what is wrong with the request's own body.
                gone.result()
                logger.info("a client went away, request %s", scope["state"]["request_id"])
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.wait({gone, work})

    async def _write(self, body: "_Body") -> None:
        await self._produce(body.write)
        await body.close()


def _report(work: asyncio.Future[None], body: "_Body", request_id: str) -> None:
    """Raise what failed before the response has begun; log what failed later."""
    error = work.exception()
    if error is None:
        return
    if not body.started:
        raise error
    logger.warning(
        "response cut off: %s, request %s",
        type(error).__name__,
        request_id,
        exc_info=None if isinstance(error, ClientStalledError) else error,
    )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Body:
    """Collects what is written into pieces, compresses them, and sends them."""

    def __init__(self, response: Response, send: Send, patience: float, *, gzip: bool) -> None:
        self.started = False
        self._response = response
        self._to_client = send
        self._patience = patience
        self._waiting = bytearray()
        self._compressor = zlib.compressobj(_LEVEL, wbits=_GZIP) if gzip else None

    async def write(self, content: bytes) -> None:
        """Send what makes whole pieces.

        Raises:
            ClientStalledError: the client takes nothing.
        """
        self._waiting += content
        while len(self._waiting) >= _PIECE:
            piece = bytes(self._waiting[:_PIECE])
            del self._waiting[:_PIECE]
            if self._compressor is not None:
                # A millisecond or two, for which other requests do not wait.
                piece = await asyncio.to_thread(self._compressor.compress, piece)
            if piece:
                await self._send(piece)

    async def close(self) -> None:
        """Send the rest, and that it is the last of it."""
        rest = bytes(self._waiting)
        if self._compressor is not None:
            rest = self._compressor.compress(rest) + self._compressor.flush()
        await self._send(rest, more=False)

    async def _send(self, piece: bytes, *, more: bool = True) -> None:
        message = {"type": "http.response.body", "body": piece, "more_body": more}
        try:
            async with asyncio.timeout(self._patience):
                await self._start()
                await self._to_client(message)
        except TimeoutError:
            raise ClientStalledError from None

    async def _start(self) -> None:
        if self.started:
            return
        self.started = True
        headers = self._response.raw_headers
        await self._to_client(
            {"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers}
        )
