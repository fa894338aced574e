"""The CPU time and memory of processes, read from Linux' `/proc`.

On systems without `/proc`, the report omits these figures.
"""

import os
from pathlib import Path

_PROC = Path("/proc")
AVAILABLE = (_PROC / "self" / "stat").exists()

# The indices of fields in /proc/PID/stat, counted after the command's name.
_PARENT, _USER, _SYSTEM, _DEAD_CHILDREN_USER, _DEAD_CHILDREN_SYSTEM = 1, 11, 12, 13, 14


def cpu_seconds(root: int) -> float | None:
    """Return the CPU time of a process and its descendants, including ended ones."""
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
    """Return the parent process of `pid`."""
    fields = _stat(pid) if AVAILABLE else None
    return int(fields[_PARENT]) if fields else None


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = (_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _processes() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Return the fields after the command's name, which may contain spaces and brackets."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
