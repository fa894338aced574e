"""The `deals` command as a process."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TypeAlias

import httpx
from tests.support.servers import DEALS, NO_CERTIFICATES
from tests.support.timeouts import TIMEOUT

RunDeals: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def start_deals(
    arguments: list[str], environment: dict[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [DEALS, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def get(url: str) -> httpx.Response:
    return httpx.get(url, verify=NO_CERTIFICATES, timeout=TIMEOUT)


def is_healthy(base_url: str) -> bool:
    try:
        return get(f"{base_url}/health").status_code == 200
    except httpx.TransportError:
        return False
