"""The files that describe how the service runs."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

BACKEND = Path(__file__).parents[2]
ROOT = BACKEND.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CLAUDE.md", "backend/CLAUDE.md")),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TASKS = tomllib.loads((ROOT / "mise.toml").read_text())["tasks"]


def load_compose() -> dict[str, Any]:
    """Return docker-compose.yml as written, without values for its variables."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None, duration
    return int(match[1])


def read_dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their arguments, with continued lines joined."""
    text = (BACKEND / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def last_instruction(instruction: str) -> str:
    return [arguments for word, arguments in read_dockerfile() if word == instruction][-1]
