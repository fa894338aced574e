"""What of this machine and of the service's settings the rules need."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Settings

# Where a container finds how much memory it may have (cgroup v2).
_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class DiagnosisContext:
    """Which database is examined, for which service."""

    settings: Settings
    # Processes that `deals serve` runs.
    processes: int
    # Whether it is the one that answers reads only, by READ_DATABASE_URL.
    replica: bool
    # Of the server's machine, in bytes, when it is this one.
    memory: int | None
    # The revisions that this code knows, the oldest first; none when it carries no migrations.
    revisions: Sequence[str]


def memory_here() -> int:
    """The memory of this machine or container, in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine
