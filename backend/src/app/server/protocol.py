"""HTTP as uvicorn speaks it, for clients that are many, slow, or gone."""

import asyncio
from functools import lru_cache, partial
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.core.errors import AppError, OverloadedError, RequestTimeoutError, ServiceUnavailableError
from app.http.concurrency_limiter import ConcurrencyLimiter
from app.http.exception_handlers import envelope
from app.http.middleware import parse_request_headers
from app.http.streaming import ABORT
from app.schemas.validation_errors import error_envelope
from app.server.writing import OneWrite

# Of what a client sends too early, when no more is read until it is heard.
_MOST_UNHEARD = 65_536


class Protocol(OneWrite):
    """A connection that is refused what is too much, and closed when it says nothing.

    The application's `state.limiter` counts the requests in progress. A refusal is written here: a
    task and the application's layers would cost as much as a short request. Whoever was refused is
    heard again after the time that Retry-After names, but for a proxy.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._uncounted = self.app
        self._limiter: ConcurrencyLimiter = self.app.state.limiter
        self._counted = self.app.state.counted
        self._proxies: tuple[str, ...] = self.app.state.proxies
        self._arrival_seconds: float = self.app.state.request_arrival_timeout
        self._extensions: dict[str, Any] = {}
        self._answering: RequestResponseCycle | None = None
        # One's connections carry what many people ask.
        self._is_of_a_proxy = False
        self._refused = False
        self._just_refused = False
        # After a refusal.
        self._closes = False
        # From a refusal to the time when the client was told to come again: what it sends until
        # then, and that it has come too early.
        self._deaf: asyncio.TimerHandle | None = None
        self._unheard = bytearray()
        self._early = False
        self._arriving = False
        self._uploads = False
        self._timer: asyncio.TimerHandle | None = None

    # --- what a request is given

    def on_message_begin(self) -> None:
        """Begin a request's scope, with a way to cut a client off that has stopped reading.

        ASGI only knows closing, which first sends what is still to be sent: never, to such a one.
        """
        super().on_message_begin()
        self._refused = False
        self._arriving = True
        self._uploads = False
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        """Let the request in, or refuse it."""
        if self.transport.is_closing():
            # The last answer said so: nothing after that request counts (RFC 9112, section 9.6).
            self._refused = True
            return
        counts, self._uploads = self._limiter.kind(
            self.parser.get_method(), self.url.partition(b"?")[0]
        )
        # Its turn comes later: so does the question whether there is room.
        waits = self._is_busy()
        if counts and not waits and not self._limiter.try_acquire(early=self._early):
            self._refuse()
            return
        self.app = self._uncounted
        if counts:
            self.app = partial(self._in_its_turn, early=self._early) if waits else self._counted
        before = self.cycle
        try:
            super().on_headers_complete()
        finally:
            if counts and not waits and self.cycle is before:
                # An address that is none, for instance: nothing runs that would make room again.
                self._limiter.release()
        if self._limiter.draining:
            # Whoever keeps connections goes elsewhere for the next request.
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # uvicorn only tells its latest request of a lost connection, which may wait for its turn.
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    async def _in_its_turn(
        self, scope: Scope, receive: Receive, send: Send, *, early: bool
    ) -> None:
        """Run a request that waited for the one before it on the same connection."""
        if self._limiter.try_acquire(early=early):
            await self._counted(scope, receive, send)
            return
        request_id, _ = parse_request_headers(scope["headers"])
        await envelope(request_id, OverloadedError())(scope, receive, send)

    def on_body(self, body: bytes) -> None:
        """Pass it on, unless nobody wants it."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        self._arriving = self._uploads = False
        if not self._refused:
            super().on_message_complete()
        elif self._closes:
            self.transport.close()

    def _is_busy(self) -> bool:
        """Whether the request before this one is still being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    # --- clients that are slow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, for so long."""
        super().connection_made(transport)
        self._extensions = {ABORT: transport.abort}
        self._is_of_a_proxy = self.client is not None and _is_in(self._proxies, self.client[0])
        self._wait_for_the_rest()

    def data_received(self, data: bytes) -> None:
        """Parse it; a request that comes in pieces has a deadline for the last one.

        A file has one for each piece. Bytes that are no request are waited for no longer.
        """
        if self._deaf is not None and self.loop.time() >= self._deaf.when():
            # Its time has come, and only the timer has not had its turn.
            self._hear_again()
        if self._deaf is not None:
            self._unheard += data
            if len(self._unheard) > _MOST_UNHEARD:
                self.flow.pause_reading()
            return
        self._just_refused = False
        super().data_received(data)
        if self._arriving or not (self._is_busy() or self._just_refused):
            if self._timer is None or self._uploads:
                self._stop_waiting()
                self._wait_for_the_rest()
            return
        self._stop_waiting()
        if self._just_refused:
            self._wait_for_another()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines, and tell the request that is being answered."""
        self._stop_waiting()
        self._stop_being_deaf()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def _wait_for_the_rest(self) -> None:
        self._timer = self.loop.call_later(self._arrival_seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused and self._is_busy():
            # It is we who do not read on.
            self._wait_for_the_rest()
            return
        if self._arriving and not self._refused and not self._is_busy():
            self._write(RequestTimeoutError(), close=True)
        self.transport.close()

    # --- too many

    def _refuse(self) -> None:
        self._refused = True
        if self.flow.write_paused:
            # It does not even read what it is told.
            self.transport.abort()
            return
        method = self.parser.get_method()
        self._closes = (
            method not in {b"GET", b"HEAD"}
            or not self.parser.should_keep_alive()
            # One more, sent before the last refusal was read.
            or self._just_refused
        )
        self._just_refused = True
        self._write(OverloadedError(), close=self._closes, with_body=method != b"HEAD")
        if not (self._closes or self._is_of_a_proxy):
            self._deaf = self.loop.call_later(OverloadedError.retry_after, self._hear_again)
        # Otherwise when its body is here, which has its deadline: to close before would reset the
        # connection, and the client might lose the answer.

    def _hear_again(self) -> None:
        self._stop_being_deaf()
        if self.transport.is_closing():
            return
        if unheard := bytes(self._unheard):
            self._unheard.clear()
            self.flow.resume_reading()
            self._early = True
            self.data_received(unheard)
            self._early = False
        else:
            self._wait_for_another()

    def _stop_being_deaf(self) -> None:
        if self._deaf is not None:
            self._deaf.cancel()
            self._deaf = None

    def _wait_for_another(self) -> None:
        """For as long as uvicorn keeps a connection on which nothing is asked, if it is one."""
        if self._deaf is not None or self._is_busy() or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _write(self, error: AppError, *, close: bool, with_body: bool = True) -> None:
        request_id, _ = parse_request_headers(self.headers or ())
        body = to_json(error_envelope(error, request_id))
        lines = [
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode(),
            *(b"%s: %s" % header for header in self.server_state.default_headers),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-request-id: %s" % request_id.encode(),
            b"retry-after: %d" % ServiceUnavailableError.retry_after,
        ]
        if close:
            lines.append(b"connection: close")
        head = b"\r\n".join((*lines, b"", b""))
        self.transport.write(head + body if with_body else head)


@lru_cache(256)
def _is_in(networks: tuple[str, ...], address: str) -> bool:
    return any(ip_address(address) in ip_network(network) for network in networks)
