"""A worker beside a server that starts and ends it."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pkgutil import resolve_name

from app.core.config import Settings
from app.jobs.shutdown_signals import GRACE_SECONDS, SIGNALS

# By its name, so that the server does not import what the worker needs.
_WORKER = "app.jobs.process:run_as_child"
# How soon a worker that has died is followed by another.
_PAUSE_SECONDS = 1.0


@contextmanager
def worker_subprocess(settings: Settings) -> Iterator[None]:
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
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    while not over.is_set():
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(_WORKER, settings), name="deals worker"
        )
        process.start()
        while process.is_alive() and not over.wait(0.2):
            process.join(0)
        if over.is_set():
            _end(process)
        else:
            over.wait(_PAUSE_SECONDS)


def _run(worker: str, settings: Settings) -> None:
    resolve_name(worker)(settings)


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(GRACE_SECONDS * 2)
    if process.is_alive():
        process.kill()
        process.join()
