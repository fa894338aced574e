"""The index of the ADRs matches the ADRs."""

import re

import pytest
from tests.operations.files import ROOT

pytestmark = pytest.mark.unit

FOLDER = ROOT / "docs" / "adr"
ROW = re.compile(r"^\| \[(\d+)\]\(([\w-]+\.md)\) \| .+ \| ([\w ]+) \| .+ \|$", re.MULTILINE)
TITLE_AND_STATUS = re.compile(r"# (\d+)\. .+\n\n(Accepted|Superseded by ADR \d+)\b")


def test_adr_index_lists_number_and_status_of_every_record() -> None:
    listed = [
        (name, int(number), status)
        for number, name, status in ROW.findall((FOLDER / "README.md").read_text())
    ]
    records = []
    for file in sorted(FOLDER.glob("0*.md")):
        head = TITLE_AND_STATUS.match(file.read_text())
        assert head is not None, file.name
        records.append((file.name, int(head[1]), head[2]))

    assert listed == records
    assert [number for _, number, _ in records] == list(range(1, len(records) + 1))
