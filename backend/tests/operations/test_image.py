"""The image that backend/Dockerfile describes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operations.files import BACKEND, ROOT, last_instruction, read_dockerfile

pytestmark = pytest.mark.integration


def test_the_image_is_locked_and_without_development_tools() -> None:
    syncs = [rest for word, rest in read_dockerfile() if word == "RUN" and "uv sync" in rest]

    assert len(syncs) == 2
    for sync in syncs:
        assert "--locked --no-dev" in sync
        assert "--extra" not in sync


def test_the_image_is_not_run_by_root() -> None:
    user, _, group = last_instruction("USER").partition(":")

    assert int(user) > 0
    assert int(group) > 0


def test_the_image_runs_in_production_and_writes_nothing() -> None:
    environment = dict(item.split("=", 1) for item in last_instruction("ENV").split())

    assert environment["APP_ENV"] == "production"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert any(
        word == "ENV" and "UV_COMPILE_BYTECODE=1" in rest for word, rest in read_dockerfile()
    )


def test_the_image_migrates_before_it_serves_and_gets_signals() -> None:
    # JSON lists: no shell between the container and the command.
    command = json.loads(last_instruction("ENTRYPOINT")) + json.loads(last_instruction("CMD"))

    assert command[:2] == ["deals", "serve"]
    assert "--migrate" in command
    assert command[command.index("--host") + 1] == "0.0.0.0"  # noqa: S104 - inside the container
    assert command[command.index("--port") + 1] == last_instruction("EXPOSE")


def test_the_image_checks_its_health_with_what_it_has() -> None:
    check = json.loads(last_instruction("HEALTHCHECK").partition(" CMD ")[2])

    assert check[:2] == ["python", "-c"]
    assert f"http://127.0.0.1:{last_instruction('EXPOSE')}/health/live'" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")


def test_what_the_image_copies_is_let_through() -> None:
    ignored = (BACKEND / ".dockerignore").read_text().splitlines()
    copied = {
        part.removeprefix("./")
        for word, rest in read_dockerfile()
        if word == "COPY" and not rest.startswith("--from")
        for part in rest.split()[:-1]
    }

    assert ignored[ignored.index("*") + 1 :]
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((BACKEND / name).exists() for name in copied)


def test_dockerfiles_are_linted() -> None:
    files = [BACKEND / "Dockerfile", ROOT / "ops" / "pgbouncer" / "Dockerfile"]
    hadolint = Path(sys.executable).with_name("hadolint")

    subprocess.run([hadolint, *map(str, files)], check=True)
