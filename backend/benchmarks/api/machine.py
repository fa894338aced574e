"""The date, machine and versions of a measurement."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.api.database import Database

_PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "sqlalchemy",
    "asyncpg",
    "orjson",
)


def about(database: Database, load: str, settings: Sequence[tuple[str, str]]) -> dict[str, object]:
    """Return the date, machine, versions, load generator and changed settings."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "memory_gb": round(_memory() / 2**30),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": database.rows("SHOW server_version")[0][0].split()[0],
            "load": load,
            **{package: version(package) for package in _PACKAGES},
        },
        "settings": dict(settings),
    }


def _processor() -> str:
    """Return the processor's name from /proc, because `platform` lacks it on Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return names[0] if names else platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
