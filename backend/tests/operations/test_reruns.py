"""scripts/rerun_failed.py and scripts/flaky.py, on a folder with tests of its own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.operations.files import BACKEND
from tests.operations.python_process import run_python

pytestmark = pytest.mark.integration

_PYTEST_INI = """
[pytest]
addopts = -p xdist -p tests.plugins.failures -p tests.plugins.repeat
markers = slow
"""

_TESTS = """
import pathlib, time

def test_sound():
    pass

def test_broken():
    print("what it prints")
    assert "expected" == "found"

def test_fails_first():
    seen = pathlib.Path("seen")
    if not seen.exists():
        seen.touch()
        raise AssertionError("only the first time")
    print("the second time")

def test_endless():
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(_PYTEST_INI)
    (tmp_path / "test_some.py").write_text(_TESTS)
    return tmp_path


def run_and_rerun_failed(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run tests, and then run the failed ones again."""
    run_python(folder, "-m", "pytest", "--failures", "failures.json", *names)
    return run_python(folder, str(BACKEND / "scripts" / "rerun_failed.py"), "failures.json")


def run_flaky(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(folder, str(BACKEND / "scripts" / "flaky.py"), "--loops", "1", *arguments)


def processes_in(folder: Path) -> list[str]:
    """Return the processes with this working folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                found.append(link.parent.name)
        except OSError:
            continue
    return found


def failures_file(**changes: Any) -> str:
    found = {"status": 1, "left_behind": [], "passed": 1, "modules": {}, "tests": {}}
    return json.dumps(found | changes)


class TestRerunFailed:
    @pytest.mark.slow
    def test_passing_alone_is_flaky_with_both_outputs(self, folder: Path) -> None:
        again = run_and_rerun_failed(
            folder, "test_some.py::test_fails_first", "test_some.py::test_sound"
        )

        assert again.returncode == 0
        assert "FLAKY test_some.py::test_fails_first\n" in again.stdout
        assert "only the first time" in again.stdout
        assert "1 passed" in again.stdout

    def test_failing_again_fails_the_run(self, folder: Path) -> None:
        again = run_and_rerun_failed(
            folder, "test_some.py::test_fails_first", "test_some.py::test_broken"
        )

        assert again.returncode == 1
        assert "FLAKY test_some.py::test_fails_first\n" in again.stdout
        assert "FAILED AGAIN test_some.py::test_broken\n" in again.stdout
        assert again.stdout.count("\nwhat it prints\n") == 2

    @pytest.mark.slow
    def test_import_error_fails_the_run(self, folder: Path) -> None:
        (folder / "test_some.py").write_text("import nothing_of_this_name")
        again = run_and_rerun_failed(folder)

        assert again.returncode == 1
        assert "test_some.py" in again.stdout
        assert "FLAKY" not in again.stdout

    @pytest.mark.parametrize(
        ("failures", "reason"),
        [
            (None, "ended early"),
            ("{", "ended early"),
            (failures_file(), "no test did"),
            (failures_file(tests=dict.fromkeys("abcdefghijk", "")), "11 tests failed"),
            (failures_file(tests={"a": ""}, status=2), "was cut off, with exit status 2"),
            (failures_file(tests={"a": ""}, left_behind=["file x"]), "left behind: file x"),
        ],
        ids=["no file", "half a file", "nothing", "many", "cut off", "left behind"],
    )
    def test_unusable_or_long_list_fails_the_run(
        self, tmp_path: Path, failures: str | None, reason: str
    ) -> None:
        if failures is not None:
            (tmp_path / "failures.json").write_text(failures)
        again = run_python(tmp_path, str(BACKEND / "scripts" / "rerun_failed.py"), "failures.json")

        assert again.returncode == 1
        assert reason in again.stdout


class TestFlaky:
    def test_repeated_runs_are_counted_under_load(self, folder: Path) -> None:
        sound = run_flaky(folder, "test_some.py::test_sound", "--times", "3")
        assert (sound.returncode, sound.stdout) == (
            0,
            "test_some.py::test_sound: 0 of 3 runs failed\n",
        )

        broken = run_flaky(folder, "broken", "--times", "2")
        assert broken.returncode == 1
        assert "test_some.py::test_broken: 2 of 2 runs failed\n" in broken.stdout
        assert broken.stdout.count("\nwhat it prints\n") == 1
        assert processes_in(folder) == []

    @pytest.mark.slow
    def test_ambiguous_name_is_refused(self, folder: Path) -> None:
        several = run_flaky(folder, "test_some.py")

        assert several.returncode == 2
        assert "matches 4 tests instead of one" in several.stderr
        assert "test_some.py::test_sound" in several.stderr

    @pytest.mark.slow
    @pytest.mark.parametrize("minutes", ["0.05", "0"], ids=["in the test", "before pytest starts"])
    def test_time_limit_ends_the_runs(self, folder: Path, minutes: str) -> None:
        endless = run_flaky(folder, "endless", "--times", "2", "--minutes", minutes)

        assert endless.returncode == 0
        assert "0 of 0 runs failed\n2 more did not run" in endless.stdout
        assert processes_in(folder) == []
