"""The selection and the order of tests: the quick tier by default, long modules first.

A test marked `slow` runs if `-m` selects it, or if its file or its name is on the command line.
"""

from pathlib import Path

import pytest

# The longest modules of both tiers. The tests of a module stay on one worker, so a worker that
# starts one of these last keeps the other workers waiting.
LONG = (
    "tests/operations/test_proxy.py",
    "tests/browser/test_reference.py",
    "tests/contract/test_schemathesis.py",
    "tests/jobs/test_worker_subprocess.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_serve.py",
    "tests/cli/test_load.py",
    "tests/jobs/test_database_away.py",
    "tests/jobs/test_lost_workers.py",
    "tests/clients/test_generated.py",
    "tests/services/test_import_runner_resumed.py",
    "tests/http/test_monitoring.py",
    "tests/operations/test_image_built.py",
    "tests/services/test_loading_killed.py",
    "tests/ingestion/read/test_widths.py",
    "tests/ingestion/check/test_rejects_file.py",
    "tests/browser/test_browse.py",
    "tests/migrations/test_history.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect slow tests that are not requested, and move long modules to the front.

    pytest-randomly shuffles before every other implementation of this hook runs.
    """
    if not config.getoption("-m"):
        _leave_out(config, items)
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(_module(item), len(order)))


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = _named_files(config)
    out = [item for item in items if item.get_closest_marker("slow") and item.path not in named]
    if out:
        config.hook.pytest_deselected(items=out)
        unwanted = set(out)
        items[:] = [item for item in items if item not in unwanted]


def _named_files(config: pytest.Config) -> set[Path]:
    """Return the files on the command line, alone or before the name of a test."""
    folder = config.invocation_params.dir
    paths = {(folder / argument.partition("::")[0]).resolve() for argument in config.args}
    return {path for path in paths if path.is_file()}


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return a line that names the selected tier."""
    if config.getoption("-m"):
        return []
    return ["quick tier: slow tests run if their file is named, or with -m slow"]
