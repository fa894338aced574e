"""What the service is made of, and who says whether that is sound."""

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from tests.operations.files import BACKEND, ROOT, TASKS
from tests.support.programs import require_program

pytestmark = pytest.mark.integration

LOCK = tomllib.loads((BACKEND / "uv.lock").read_text())
SOUND = {"name": "a", "version": "1", "vulns": []}
UNSOUND = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
UNHEARD_OF = {"name": "c", "skip_reason": "Dependency not found"}


def test_every_package_is_locked_with_its_hashes() -> None:
    registered = [each for each in LOCK["package"] if "registry" in each["source"]]

    assert len(registered) + 1 == len(LOCK["package"])  # the project itself
    for package in registered:
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        assert files
        assert all(file["hash"].startswith("sha256:") for file in files)


def test_the_bill_of_materials_has_what_is_installed() -> None:
    # Set by `uv run`, wherever uv is.
    uv = os.environ.get("UV") or require_program("uv")
    command = TASKS["sbom"]["run"].split()
    assert command[0] == "uv"
    printed = subprocess.run([uv, *command[1:]], cwd=ROOT, capture_output=True, check=True).stdout
    bill = json.loads(printed)
    locked = {(each["name"], each.get("version")) for each in LOCK["package"]}

    assert bill["bomFormat"] == "CycloneDX"
    assert {"fastapi", "asyncpg", "uvicorn"} <= {each["name"] for each in bill["components"]}
    assert {(each["name"], each["version"]) for each in bill["components"]} <= locked
    assert "pytest" not in {each["name"] for each in bill["components"]}


@pytest.mark.slow
def test_the_source_has_nothing_that_bandit_finds() -> None:
    bandit = Path(sys.executable).with_name("bandit")

    subprocess.run([bandit, "-q", "-c", "pyproject.toml", "-r", "src"], cwd=BACKEND, check=True)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([[SOUND]], 0),
        ([[SOUND, UNSOUND]], 1),
        ([[SOUND, UNHEARD_OF], [SOUND, UNSOUND]], 1),
        ([[SOUND, UNHEARD_OF], []], 3),
        ([[], []], 3),
    ],
)
def test_what_is_not_known_is_not_taken_for_sound(
    answers: list[list[dict[str, object]]],
    status: int,
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = iter(answers)
    monkeypatch.setattr(audit, "_asked", lambda *_: next(given))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)

    assert audit.main() == status


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", BACKEND / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
