"""The child processes of a server or a command."""

from contextlib import suppress
from pathlib import Path


def child_workers(pid: int) -> list[int]:
    """Return the ids of the workers of a process, without the helper of `multiprocessing`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of the processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found
