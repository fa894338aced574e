"""Responses that send their body while they produce it."""

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

# Size in bytes of a message of the body. Smaller messages cost more CPU. Larger messages would make
# slow clients exceed the stall timeout, which applies to each message.
_PIECE = 64 * 1024
# zlib's window bits for the gzip format, and a compression level that keeps up with the database.
_GZIP = 31
_LEVEL = 4


class ClientStalledError(Exception):
    """An error for a client that did not read a body message within the stall timeout."""


class StreamedResponse(Response):
    """A response that produces its body while sending it, no faster than the client reads.

    An error before the first piece of the body becomes an ordinary error response. After a later
    error the server closes the connection without the last chunk, so that the client detects the
    incomplete body. The response ends early if the client disconnects or reads nothing for
    `patience` seconds. A `HEAD` request produces no body.
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
        # The length of a streamed body is unknown.
        del self.headers["content-length"]
        self._produce = produce
        self._gzip = gzip
        self._patience = patience
        if gzip:
            self.headers["Content-Encoding"] = "gzip"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response to one request."""
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
                # Raise any error from receiving the request's body.
                gone.result()
                logger.info("client disconnected, request %s", scope["state"]["request_id"])
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.wait({gone, work})

    async def _write(self, body: "_Body") -> None:
        await self._produce(body.write)
        await body.close()


def _report(work: asyncio.Future[None], body: "_Body", request_id: str) -> None:
    """Raise the error of `work`. If the response has already started, log the error instead."""
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
    """A buffer that splits the body into pieces, compresses them if required, and sends them."""

    def __init__(self, response: Response, send: Send, patience: float, *, gzip: bool) -> None:
        self.started = False
        self._response = response
        self._to_client = send
        self._patience = patience
        self._waiting = bytearray()
        self._compressor = zlib.compressobj(_LEVEL, wbits=_GZIP) if gzip else None

    async def write(self, content: bytes) -> None:
        """Add content to the buffer and send all full pieces.

        Raises:
            ClientStalledError: the client has not read a piece within the stall timeout.
        """
        self._waiting += content
        while len(self._waiting) >= _PIECE:
            piece = bytes(self._waiting[:_PIECE])
            del self._waiting[:_PIECE]
            if self._compressor is not None:
                # Compression takes a millisecond or two. A thread keeps the event loop free.
                piece = await asyncio.to_thread(self._compressor.compress, piece)
            if piece:
                await self._send(piece)

    async def close(self) -> None:
        """Send the rest of the buffer and end the body."""
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
