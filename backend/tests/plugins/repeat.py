"""`--repeat TEST --times N`: run one test N times in one process, for scripts/flaky.py."""

import pytest

_ARGUMENT = "repetition"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options `--repeat` and `--times`."""
    parser.addoption("--repeat", metavar="TEST", help="the node id of the one test to run")
    parser.addoption("--times", type=int, default=1, metavar="N", help="how often (1)")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the test by the number of the run, after all other parameters."""
    if metafunc.config.getoption("--repeat"):
        metafunc.fixturenames.append(_ARGUMENT)
        times = range(metafunc.config.getoption("--times"))
        metafunc.parametrize(_ARGUMENT, times, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select the runs of the one test."""
    name: str | None = config.getoption("--repeat")
    if name:
        before, after = (f"{name[:-1]}-", "]") if name.endswith("]") else (f"{name}[", "]")
        runs = {f"{before}{number}{after}" for number in range(config.getoption("--times"))}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in runs])
        items[:] = [item for item in items if item.nodeid in runs]
