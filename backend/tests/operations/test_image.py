"""The instructions of backend/Dockerfile."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operations.files import BACKEND, ROOT, last_instruction, read_dockerfile

from app.cli.main import app
from app.core.config import Settings, load_settings

pytestmark = pytest.mark.integration


def test_image_dependencies_are_locked() -> None:
    syncs = [rest for word, rest in read_dockerfile() if word == "RUN" and "uv sync" in rest]

    assert syncs
    assert all("--locked --no-dev" in sync for sync in syncs)


def test_image_user_is_not_root() -> None:
    user, _, group = last_instruction("USER").partition(":")

    assert int(user) > 0
    assert int(group) > 0


def test_image_environment_sets_production() -> None:
    environment = dict(item.split("=", 1) for item in last_instruction("ENV").split())
    known = {name.lower() for name in environment} & Settings.model_fields.keys()
    values = {name: environment[name.upper()] for name in known}

    assert load_settings(_env_file=None, signing_key="k" * 40, **values).app_env == "production"


def test_image_command_migrates_and_serves_the_exposed_port() -> None:
    # JSON lists start no shell, so the command receives signals itself.
    entrypoint: list[str] = json.loads(last_instruction("ENTRYPOINT"))
    command, *arguments = json.loads(last_instruction("CMD"))
    options = app.commands[command].make_context(command, arguments).params

    assert [*entrypoint, command] == ["deals", "serve"]
    assert options["migrate"] is True
    assert options["host"] == "0.0.0.0"  # noqa: S104 - inside the container
    assert options["port"] == int(last_instruction("EXPOSE"))


def test_image_health_check_asks_the_exposed_port() -> None:
    check = json.loads(last_instruction("HEALTHCHECK").partition(" CMD ")[2])

    assert check[:2] == ["python", "-c"]
    assert f"http://127.0.0.1:{last_instruction('EXPOSE')}/health/live'" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")


def test_image_copies_what_dockerignore_lets_through() -> None:
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


def test_dockerfiles_pass_hadolint() -> None:
    files = [BACKEND / "Dockerfile", ROOT / "ops" / "pgbouncer" / "Dockerfile"]
    hadolint = Path(sys.executable).with_name("hadolint")

    subprocess.run([hadolint, *map(str, files)], check=True)
