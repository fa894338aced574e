"""One temporary folder for a run, in memory if there is room, and a check for leftovers.

The controller makes the folder and locks a file in it. The kernel releases the lock however the run
ends, so the next run recognizes the folders of killed runs and removes them.
"""

import fcntl
import os
import shutil
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from tests.plugins import leftovers
from tests.support.databases import RUN_ID

# Linux has a file system in memory here. In a container it is usually too small.
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it has a random name
ROOM = 4 * 2**30
# The prefix is short, because the path of a server's socket has at most 107 bytes.
PREFIX = "deals-test-"

_LOCK = "lock"
# Every run has these. The folders of failed tests stand beside them.
_OF_EVERY_RUN = ("postgres*", "data", "template.*")

_run = pytest.StashKey["_Run"]()


class _Run:
    """A locked folder: `t` is pytest's, `tmp` is TMPDIR."""

    def __init__(self, root: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        self._lock = (self.folder / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Tests that change to another user have folders that this user can reach.
        self.folder.chmod(0o711)
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)
        self.left: list[str] = []
        self.failed = False

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    @property
    def tests(self) -> Path:
        return self.folder / "t"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def keep_failed_tests(self) -> None:
        """Remove all but the folders of failed tests. The next run removes those."""
        shutil.rmtree(self.tmp, ignore_errors=True)
        for pattern in _OF_EVERY_RUN:
            for path in self.tests.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)
        self._lock.close()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the folder in `PYTEST_DEBUG_TEMPROOT` or a default, unless `--basetemp` is set."""
    if hasattr(config, "workerinput"):
        return
    os.environ[RUN_ID] = uuid.uuid4().hex[:8]
    if config.option.basetemp:
        return
    root = _root()
    _remove_dead(root)
    run = config.stash[_run] = _Run(root)
    config.option.basetemp = str(run.tests)
    os.environ["TMPDIR"] = tempfile.tempdir = str(run.tmp)


def _root() -> Path:
    given = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    if given:
        return Path(given)
    in_memory = MEMORY.is_mount() and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if in_memory else Path(tempfile.gettempdir())


def _remove_dead(root: Path) -> None:
    """Remove the folders of this user's runs that have ended."""
    for folder in root.glob(f"{PREFIX}*"):
        # The entry may be a link of another user, or another run may remove it at this moment.
        with suppress(FileNotFoundError):
            if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
                _remove_if_dead(folder)


def _remove_if_dead(folder: Path) -> None:
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a green run with leftovers, after its workers and fixtures have ended."""
    run = session.config.stash.get(_run, None)
    if run is None:
        return
    run.left = leftovers.of_run(run.folder, run.tmp, os.environ[RUN_ID])
    session.config.stash[leftovers.LEFT_BEHIND] = run.left
    if run.left and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    run.failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the leftovers, and the place of the folders of failed tests."""
    run = config.stash.get(_run, None)
    if run is None:
        return
    for line in run.left:
        terminalreporter.write_line(f"LEFT BEHIND {line}", red=True)
    if run.failed:
        terminalreporter.write_line(f"The folders of failed tests are in {run.tests}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder, or all of it except the folders of failed tests."""
    run = config.stash.get(_run, None)
    if run is not None:
        run.keep_failed_tests() if run.failed else run.remove()
