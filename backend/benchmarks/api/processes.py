"""What Linux knows of processes: CPU time of a tree of them, memory of one.

On systems without `/proc` there is nothing to know, and the report has a gap.
"""

import os
from pathlib import Path

_PROC = Path("/proc")
AVAILABLE = (_PROC / "self" / "stat").exists()

# Where in the part of /proc/PID/stat that follows the command's name the fields are.
_PARENT, _USER, _SYSTEM, _DEAD_CHILDREN_USER, _DEAD_CHILDREN_SYSTEM = 1, 11, 12, 13, 14


def cpu_seconds(root: int) -> float | None:
    """CPU time of a process and its descendants so far, those that have ended included."""
    if not AVAILABLE:
        return None
    table = {pid: fields for pid in _processes() if (fields := _stat(pid))}
    children: dict[int, list[int]] = {}
    for pid, fields in table.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    ticks, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        if pid in table:
            used = (_USER, _SYSTEM, _DEAD_CHILDREN_USER, _DEAD_CHILDREN_SYSTEM)
            ticks += sum(int(table[pid][place]) for place in used)
        waiting += children.get(pid, [])
    return ticks / os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int | None:
    """The process that started `pid`."""
    fields = _stat(pid) if AVAILABLE else None
    return int(fields[_PARENT]) if fields else None


def resident_bytes(pid: int) -> int:
    """Memory of one process that is in RAM."""
    pages = (_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _processes() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name, which may have spaces and brackets."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
