"""scripts/rerun_failed.py and scripts/flaky.py, on tests of a folder of their own."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.operations.files import BACKEND
from tests.operations.pythons import run

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


def rerun(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run tests, and then those that failed once more."""
    run(folder, "-m", "pytest", "--failures", "failures.json", *names)
    return run(folder, str(BACKEND / "scripts" / "rerun_failed.py"), "failures.json")


def flaky(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, str(BACKEND / "scripts" / "flaky.py"), "--loops", "1", *arguments)


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose working folder this is."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                found.append(link.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_test_that_passes_alone_is_flaky_and_shown_with_both_outputs(folder: Path) -> None:
    again = rerun(folder, "test_some.py::test_fails_first", "test_some.py::test_sound")

    assert again.returncode == 0
    assert "FLAKY test_some.py::test_fails_first\n" in again.stdout
    assert "only the first time" in again.stdout
    assert "1 passed" in again.stdout


def test_a_test_that_fails_again_is_red_beside_a_flaky_one(folder: Path) -> None:
    again = rerun(folder, "test_some.py::test_fails_first", "test_some.py::test_broken")

    assert again.returncode == 1
    assert "FLAKY test_some.py::test_fails_first\n" in again.stdout
    assert "FAILED AGAIN test_some.py::test_broken\n" in again.stdout
    assert again.stdout.count("\nwhat it prints\n") == 2


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_is_red(folder: Path) -> None:
    (folder / "test_some.py").write_text("import nothing_of_this_name")
    again = rerun(folder)

    assert again.returncode == 1
    assert "test_some.py" in again.stdout
    assert "FLAKY" not in again.stdout


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        (None, "did not get to its end"),
        ("{", "did not get to its end"),
        ('{"modules": {}, "tests": {}}', "no test did"),
        (json.dumps({"modules": {}, "tests": dict.fromkeys("abcdefghijk", "")}), "11 tests failed"),
    ],
    ids=["no file", "half a file", "nothing", "many"],
)
def test_other_failures_are_red(tmp_path: Path, failures: str | None, reason: str) -> None:
    if failures is not None:
        (tmp_path / "failures.json").write_text(failures)
    again = run(tmp_path, str(BACKEND / "scripts" / "rerun_failed.py"), "failures.json")

    assert again.returncode == 1
    assert reason in again.stdout


def test_one_test_runs_many_times_under_load(folder: Path) -> None:
    sound = flaky(folder, "test_some.py::test_sound", "--times", "3")
    assert (sound.returncode, sound.stdout) == (
        0,
        "test_some.py::test_sound: 0 of 3 runs failed\n",
    )

    broken = flaky(folder, "broken", "--times", "2")
    assert broken.returncode == 1
    assert "test_some.py::test_broken: 2 of 2 runs failed\n" in broken.stdout
    assert broken.stdout.count("\nwhat it prints\n") == 1
    assert processes_in(folder) == []


@pytest.mark.slow
def test_a_name_of_several_tests_is_refused(folder: Path) -> None:
    several = flaky(folder, "test_some.py")

    assert several.returncode == 2
    assert "names 4 tests, not one" in several.stderr
    assert "test_some.py::test_sound" in several.stderr


@pytest.mark.slow
def test_what_takes_too_long_is_ended(folder: Path) -> None:
    endless = flaky(folder, "endless", "--times", "2", "--minutes", "0.05")

    assert endless.returncode == 0
    assert "0 of 0 runs failed\n2 more did not run" in endless.stdout
    assert processes_in(folder) == []
