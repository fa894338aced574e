"""docs/security.md names an existing test for each defence."""

import re

import pytest
from tests.operations.files import BACKEND, ROOT

pytestmark = pytest.mark.unit

PAGE = (ROOT / "docs" / "security.md").read_text()


def test_security_page_named_tests_exist() -> None:
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", PAGE))

    assert len(named) > 25
    assert {name for name in named if not (BACKEND / "tests" / name).is_file()} == set()


def test_security_page_threats_have_defence_and_test() -> None:
    for section in PAGE.split("\n## ")[1:]:
        if not section.startswith("Threats"):
            continue
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        assert rows
        assert all(re.search(r"\| .+ \| .*`.*test_\w+\.py`.* \|$", row) for row in rows)
