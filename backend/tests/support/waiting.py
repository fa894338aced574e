"""Polling for conditions without an event: rows, files and processes of another process."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from tests.support.timeouts import TIMEOUT

T = TypeVar("T")

# Seconds between two checks. A check may cost a request or a connection.
INTERVAL = 0.02


@overload
async def wait_for(
    condition: Callable[[], Awaitable[T | None]], awaited: str, *, seconds: float = ...
) -> T: ...


@overload
async def wait_for(
    condition: Callable[[], T | None], awaited: str, *, seconds: float = ...
) -> T: ...


async def wait_for(condition: Callable[[], Any], awaited: str, *, seconds: float = TIMEOUT) -> Any:
    """Poll a function, plain or asynchronous, and return its first true result.

    `awaited` describes the event in the message of a timeout.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            while not (result := await _call(condition)):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(INTERVAL)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise _failure(awaited, seconds) from error
    return result


def wait_for_sync(
    condition: Callable[[], T | None],
    awaited: str,
    *,
    seconds: float = TIMEOUT,
    interval: float = INTERVAL,
) -> T:
    """Poll a plain function outside an event loop, or where the loop may block."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() >= deadline:
            raise _failure(awaited, seconds)
        time.sleep(interval)
    return result


async def _call(condition: Callable[[], Any]) -> Any:
    result = condition()
    return await result if inspect.isawaitable(result) else result


def _failure(awaited: str, seconds: float) -> AssertionError:
    return AssertionError(f"waited {seconds:g} s in vain: {awaited}")
