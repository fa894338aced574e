"""The audit of dependencies, and the SBOM."""

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
WITHOUT_CVE = {"name": "a", "version": "1", "vulns": []}
WITH_CVE = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found"}


def test_lock_has_hashes_of_every_package() -> None:
    registered = [each for each in LOCK["package"] if "registry" in each["source"]]

    assert len(registered) + 1 == len(LOCK["package"])  # the project itself
    for package in registered:
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        assert files
        assert all(file["hash"].startswith("sha256:") for file in files)


def test_sbom_lists_locked_packages_without_development_tools() -> None:
    # `uv run` sets UV to its own path.
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
def test_bandit_has_no_findings_in_source() -> None:
    bandit = Path(sys.executable).with_name("bandit")

    subprocess.run([bandit, "-q", "-c", "pyproject.toml", "-r", "src"], cwd=BACKEND, check=True)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([[WITHOUT_CVE]], 0),
        ([[WITHOUT_CVE, WITH_CVE]], 1),
        ([[WITHOUT_CVE, UNKNOWN], [WITHOUT_CVE, WITH_CVE]], 1),
        ([[WITHOUT_CVE, UNKNOWN], []], 3),
        ([[], []], 3),
    ],
)
def test_audit_unknown_or_vulnerable_package_sets_exit_status(
    answers: list[list[dict[str, object]]],
    status: int,
    audit_script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remaining_answers = iter(answers)
    monkeypatch.setattr(audit_script, "_asked", lambda *_: next(remaining_answers))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)

    assert audit_script.main() == status


@pytest.fixture
def audit_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", BACKEND / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
