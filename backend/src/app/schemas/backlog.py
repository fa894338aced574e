from typing import NamedTuple


class Backlog(NamedTuple):
    """What waits for workers, and what imports have done since there are any."""

    waiting: int
    running: int
    failed: int
    # How long the one that waits longest could have been run; 0 without any.
    oldest_seconds: float
    workers: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
