"""Transactions that lost a race are made anew, inside the request."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Request, Response

from app.core.errors import TransactionConflictError
from app.http.direct import DirectRoute

ATTEMPTS = 3
# Seconds, times the attempt; drawn, so that two that ran into each other part.
LONGEST_PAUSE = 0.05


class RetryingRoute(DirectRoute):
    """A route that is answered again after a serialization failure or a deadlock.

    Safe for routes whose only effect is their transaction: it is undone, the commit included, when
    PostgreSQL reports either, and the body has been read and is kept. After the last attempt the
    client gets the 409. Other conflicts are the client's to decide and are never repeated. A GET
    has no transaction.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, dependencies and all, up to `ATTEMPTS` times."""
        handler = super().get_route_handler()
        if self.methods == {"GET"}:
            return handler

        async def answer(request: Request) -> Response:
            for attempt in range(1, ATTEMPTS):
                try:
                    return await _committed(handler, request)
                except TransactionConflictError:
                    await asyncio.sleep(random.uniform(0, LONGEST_PAUSE * attempt))  # noqa: S311
            return await _committed(handler, request)

        return answer


async def _committed(
    handler: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    """The handler's answer, after the dependencies of scope "function" have ended.

    FastAPI ends them, and so commits, only after its handler has returned, where nothing could be
    repeated. It keeps them on this stack, which is good for another round once it is unwound.
    """
    dependencies: AsyncExitStack = request.scope["fastapi_function_astack"]
    async with dependencies:
        return await handler(request)
