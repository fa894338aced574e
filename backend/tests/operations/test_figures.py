"""Documents repeat figures of docs/benchmark-results.md exactly."""

import re

import pytest
from tests.operations.files import ROOT

pytestmark = pytest.mark.unit

DOCS = ROOT / "docs"
ROW = re.compile(r"^\|.*\| ([^|]+) \| `mise run (?:bench(?::\w+)?|soak)` \|$", re.MULTILINE)
FIGURE = re.compile(r"(?<![p\d])\d+(?:[.,]\d+)*")


@pytest.mark.parametrize("name", ["performance.md", "scaling.md", "service-levels.md"])
def test_repeated_figures_are_those_of_the_benchmarks(name: str) -> None:
    measured = set(FIGURE.findall((DOCS / "benchmark-results.md").read_text()))
    repeated = [
        figure for cell in ROW.findall((DOCS / name).read_text()) for figure in FIGURE.findall(cell)
    ]

    assert len(repeated) >= 5
    assert set(repeated) - measured == set()
