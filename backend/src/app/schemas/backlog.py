from typing import NamedTuple


class Backlog(NamedTuple):
    """Counts of background jobs and workers, and of the rows of all imports."""

    waiting: int
    running: int
    failed: int
    # Seconds since the oldest waiting job was due, or 0 if no job waits.
    oldest_seconds: float
    workers: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
