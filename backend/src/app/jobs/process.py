"""A worker as a process: in the foreground, or beside a server that starts and ends it."""

import asyncio
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

from app.config import Settings
from app.jobs.worker import GRACE_SECONDS, work
from app.logging import configure_logging

# How soon a worker that has died is followed by another.
_PAUSE_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_worker(settings: Settings) -> None:
    """Work on jobs until SIGINT or SIGTERM, or until the process that started this one is gone.

    Raises:
        DealsError: one line on what is missing or in the way.
    """
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    # Those that a child has got since it was started.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, stop.set)
    await work(settings, stop)


@contextmanager
def worker_beside(settings: Settings) -> Iterator[None]:
    """Keep a worker running, in a process of its own, for the length of the block.

    A process and not a task: checking rows takes a core, which requests would have to share.
    """
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(settings, over), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _keep(settings: Settings, over: threading.Event) -> None:
    # Children inherit it: Ctrl-C waits until a child can end as it should. The main thread hears of
    # it all the same. Python's helper would be started with the first child, and undo it.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    while not over.is_set():
        process = multiprocessing.get_context("spawn").Process(
            target=_run_as_child, args=(settings,), name="deals worker"
        )
        process.start()
        while process.is_alive() and not over.wait(0.2):
            process.join(0)
        if over.is_set():
            _end(process)
        else:
            over.wait(_PAUSE_SECONDS)


def _run_as_child(settings: Settings) -> None:
    configure_logging(settings)
    run_worker(settings)


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(GRACE_SECONDS * 2)
    if process.is_alive():
        process.kill()
        process.join()
