"""Responses on their way to the socket."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class OneWrite(HttpToolsProtocol):
    """Sends a response's head and the beginning of its body together.

    uvicorn writes them one after the other, and uvloop writes at once: two system calls and two
    packets for each response, however short it is.
    """

    def on_headers_complete(self) -> None:
        """Give what answers the request a transport that waits for the body."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            # It has of a transport what uvicorn's cycle uses.
            self.cycle.transport = _Together(self.cycle, self.transport)  # type: ignore[assignment]


class _Together:
    """One response's, until its body begins."""

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._cycle = cycle
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Hold the head back, unless nobody knows when its body comes."""
        if not self._cycle.response_started:
            # 100 Continue.
            self._transport.write(data)
        elif self._head or self._cycle.chunked_encoding or self._cycle.scope["method"] == "HEAD":
            head = self._released()
            self._transport.writelines([head, data] if head else [data])
        else:
            self._head = data

    def is_closing(self) -> bool:
        """Whether the transport is."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is held back, and no more after it."""
        head = self._released()
        if head and not self._transport.is_closing():
            self._transport.write(head)
        self._transport.close()

    def _released(self) -> bytes:
        """What was held back; from here on the response has the transport itself."""
        self._cycle.transport = self._transport
        head, self._head = self._head, b""
        return head
