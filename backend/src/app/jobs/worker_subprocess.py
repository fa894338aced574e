"""A worker that a server starts and stops as a child process."""

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

# The child process imports this function by name, so that the server does not load the worker's
# modules.
_WORKER = "app.jobs.process:run_as_child"
# Seconds to wait before replacing a worker that has ended.
_PAUSE_SECONDS = 1.0


@contextmanager
def worker_subprocess(settings: Settings) -> Iterator[None]:
    """Keep a worker running in a child process until the `with` block ends.

    A worker inside the server process would slow down requests, because validating rows occupies a
    whole core.
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
    # Block the stop signals in this thread only. The child inherits the signal mask, so Ctrl-C
    # cannot stop the child before its handlers are installed. Start Python's resource tracker
    # first, because starting it together with the first child would unblock the signals.
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
