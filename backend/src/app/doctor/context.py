"""The context of a diagnosis: this machine and the service's settings."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Settings

# The file with a container's memory limit (cgroup v2).
_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class DiagnosisContext:
    """The service's settings and environment, which the rules compare the database with."""

    settings: Settings
    # The number of processes of `deals serve`.
    processes: int
    # Whether the examined database is the replica at READ_DATABASE_URL.
    replica: bool
    # The memory of the database's machine in bytes. None if that is not this machine.
    memory: int | None
    # The revisions of this code, oldest first. Empty if the installation has no migrations.
    revisions: Sequence[str]


def memory_here() -> int:
    """Return the memory of this machine or container in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine
