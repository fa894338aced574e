"""The context of a diagnosis: the service's settings and this machine's memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Settings

# The file with a container's memory limit (cgroup v2).
_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class DiagnosisContext:
    """Facts about the service and the machine that the rules compare the database with."""

    settings: Settings
    # The number of server processes, as in `deals serve --workers`.
    processes: int
    # True if the doctor examines the replica at READ_DATABASE_URL.
    replica: bool
    # The memory of the database's machine in bytes, or None if that is another machine.
    memory: int | None
    # The revision ids of the installed migrations, oldest first. Empty if none are installed.
    revisions: Sequence[str]


def memory_here() -> int:
    """Return this machine's memory in bytes, or the container's limit if it is lower."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine
