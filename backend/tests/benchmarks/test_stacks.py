"""Flame graphs from raw stacks, without paths of the machine."""

from xml.etree import ElementTree as ET

import pytest
from benchmarks.api.stacks import flame_graph, requests_only, shares

pytestmark = pytest.mark.unit

START = "serve (app/cli/main.py:9);RequestResponseCycle.run_asgi (uvicorn/protocols/http/x.py:3)"
RAW = f"""{START};list_deals (app/routers/deals.py:50) 3
{START};list_deals (app/routers/deals.py:51) 4
{START};<dump> (/home/someone/src/thing/json.py:7) 3
{START} 1
<module> (app/cli/main.py:1) 100
"""


def test_requests_only_merges_lines_and_drops_other_stacks() -> None:
    stacks = requests_only(RAW)

    assert sum(stacks.values()) == 11
    assert max(stacks.values()) == 7
    assert all(stack[0].startswith("RequestResponseCycle.run_asgi") for stack in stacks)
    assert list(shares(stacks)) == ["app", "thing", "uvicorn"]


def test_flame_graph_is_well_formed_without_paths_of_machine() -> None:
    picture = flame_graph("a < b", requests_only(RAW))

    ET.fromstring(picture)  # noqa: S314 - our own
    assert "someone" not in picture
    assert "thing/json.py" in picture
    assert "list_deals (app/routers/deals.py) 63.6%" in picture
