"""Entry points of a worker process, which runs in the foreground or as a server's child."""

import asyncio
import multiprocessing
import signal

from app.core.config import Settings
from app.jobs.shutdown_signals import SIGNALS
from app.jobs.worker import DEFAULTS, WorkerOptions, work
from app.observability.logging import configure_logging


def run_worker(settings: Settings, options: WorkerOptions = DEFAULTS) -> None:
    """Run jobs until SIGINT or SIGTERM, or until the parent process has ended.

    Raises:
        DealsError: the worker cannot start. The message is one line.
    """
    asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: WorkerOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    # A child process starts with the stop signals blocked. Unblocking delivers pending signals.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, stop.set)
    await work(settings, stop, options)


def run_as_child(settings: Settings) -> None:
    """Configure logging and run a worker in a child process."""
    configure_logging(settings)
    run_worker(settings)
