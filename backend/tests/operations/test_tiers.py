"""The selection of tests, and leftovers of a run, on a folder with tests of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operations.files import BACKEND
from tests.operations.python_process import run_python
from tests.plugins import leftovers
from tests.plugins.tiers import LONG

pytestmark = pytest.mark.integration

_PYTEST_INI = """
[pytest]
addopts = -p xdist -p tests.plugins.tiers -p tests.plugins.run_folder
tmp_path_retention_policy = failed
markers = slow
"""

_TESTS = """
import os, pathlib, pytest, tempfile

def test_quick(tmp_path):
    (tmp_path / "file").touch()

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.slow
def test_slow_too():
    pass
"""


ALL_TESTS = {"test_quick", "test_slow", "test_slow_too"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "temporary").mkdir()
    (tmp_path / "pytest.ini").write_text(_PYTEST_INI)
    (tmp_path / "tests" / "test_some.py").write_text(_TESTS)
    return tmp_path


def run_folders(folder: Path) -> list[Path]:
    return list((folder / "temporary").iterdir())


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = {"PYTEST_DEBUG_TEMPROOT": str(folder / "temporary")}
    return run_python(folder, "-m", "pytest", "-rA", *arguments, **root)


class TestTiers:
    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            ([], {"test_quick"}),
            pytest.param(["tests"], {"test_quick"}, marks=pytest.mark.slow),
            pytest.param(["-n", "2"], {"test_quick"}, marks=pytest.mark.slow),
            (["-m", "slow"], {"test_slow", "test_slow_too"}),
            (["tests/test_some.py::test_slow"], {"test_slow"}),
            pytest.param(["tests/test_some.py"], ALL_TESTS, marks=pytest.mark.slow),
            pytest.param(["-m", "slow or not slow"], ALL_TESTS, marks=pytest.mark.slow),
            pytest.param(
                ["-n", "2", "tests/test_some.py::test_slow"], {"test_slow"}, marks=pytest.mark.slow
            ),
        ],
    )
    def test_slow_tests_run_only_on_request(
        self, folder: Path, arguments: list[str], names: set[str]
    ) -> None:
        result = run_pytest(folder, *arguments)

        passed = re.findall(r"^PASSED tests/test_some.py::(\w+)", result.stdout, re.MULTILINE)
        assert set(passed) == names
        assert ("quick tier: " in result.stdout) == ("-m" not in arguments)

    def test_long_modules_exist(self) -> None:
        assert [name for name in LONG if not (BACKEND / name).is_file()] == []


class TestRunFolder:
    @pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
    def test_green_run_leaves_nothing(self, folder: Path, workers: str) -> None:
        assert run_pytest(folder, "-n", workers).returncode == 0
        assert run_folders(folder) == []

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", ["0", "2"])
    def test_failed_run_keeps_folders_until_next_run(self, folder: Path, workers: str) -> None:
        failing = _TESTS + (
            "\ndef test_failing(tmp_path):\n    (tmp_path / 'evidence').touch()\n    assert False\n"
        )
        (folder / "tests" / "test_some.py").write_text(failing)
        assert run_pytest(folder, "-n", workers).returncode == 1
        (kept,) = run_folders(folder)
        assert [path.parent.name for path in kept.rglob("evidence")] == ["test_failing0"]
        assert not list(kept.rglob("test_quick0"))

        (folder / "tests" / "test_some.py").write_text(_TESTS)
        assert run_pytest(folder, "-n", workers).returncode == 0
        assert run_folders(folder) == []

    @pytest.mark.slow
    def test_killed_run_folder_is_removed_by_next_run(self, folder: Path) -> None:
        killing = "import os, signal\n\ndef test_killing(tmp_path):\n    os.kill(os.getpid(), 9)\n"
        (folder / "tests" / "test_some.py").write_text(killing)
        assert run_pytest(folder).returncode == -9
        assert len(run_folders(folder)) == 1

        (folder / "tests" / "test_some.py").write_text(_TESTS)
        assert run_pytest(folder).returncode == 0
        assert run_folders(folder) == []

    @pytest.mark.slow
    def test_leftover_file_fails_green_run(self, folder: Path) -> None:
        leaving = _TESTS + "\ndef test_leaving():\n    tempfile.mkdtemp(prefix='left-')\n"
        (folder / "tests" / "test_some.py").write_text(leaving)
        result = run_pytest(folder)

        assert result.returncode == 1
        assert re.search(r"LEFT BEHIND file \S+/tmp/left-", result.stdout)

    def test_leftover_process_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leftovers, "_PATIENCE", 0.0)
        (tmp_path / "tmp").mkdir()
        command = [sys.executable, "-c", "input()", str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            (found,) = leftovers.of_run(tmp_path, tmp_path / "tmp", "of no run")
            process.communicate(b"\n")

        assert found.startswith(f"process {process.pid}: {sys.executable} -c input()")
        assert leftovers.of_run(tmp_path, tmp_path / "tmp", "of no run") == []
