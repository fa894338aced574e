"""`--failures FILE`: write the failed tests and their output, for scripts/rerun_failed.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.leftovers import LEFT_BEHIND

_OPTION = "--failures"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_OPTION, metavar="FILE", help="write the failed tests to FILE, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption(_OPTION)
    # The workers of xdist send their reports to the controller.
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(Path(path)))


class _Recorder:
    """A list of failures: tests by their node ids, and modules that cannot be imported."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._passed = 0
        self._tests: dict[str, str] = {}
        self._modules: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a test that fails, or whose fixtures fail."""
        if report.failed:
            self._tests[report.nodeid] = self._tests.get(report.nodeid, "") + _text(report)
        elif report.when == "call" and report.passed:
            self._passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a module that cannot be imported."""
        if report.failed:
            self._modules[report.nodeid] = report.longreprtext

    def pytest_terminal_summary(self, exitstatus: int, config: pytest.Config) -> None:
        """Write all failures and the exit status. A run that breaks down writes nothing."""
        found: dict[str, Any] = {
            "status": int(exitstatus),
            "left_behind": config.stash.get(LEFT_BEHIND, []),
            "passed": self._passed,
            "tests": self._tests,
            "modules": self._modules,
        }
        self._path.write_text(json.dumps(found, indent=2))


def _text(report: pytest.TestReport) -> str:
    sections = [f"--- {title}\n{content}" for title, content in report.sections]
    return "\n".join([f"--- {report.when}", report.longreprtext, *sections, ""])
