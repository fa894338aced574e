"""Alert rules and the dashboard use only metrics that /metrics has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml

pytestmark = pytest.mark.api

OPS = Path(__file__).parents[3] / "ops"
ALERTS: dict[str, Any] = yaml.safe_load((OPS / "prometheus" / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((OPS / "grafana" / "dashboard.json").read_text())
DURATION = re.compile(r"\d+[smh]")


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def metric_selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """Return the selector of every metric in an expression, at any depth."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from metric_selectors(inner)
    for each in getattr(node, "args", ()):
        yield from metric_selectors(each)


@pytest.fixture
async def known_metrics(client: httpx.AsyncClient) -> dict[str, set[str]]:
    """Return every series, and the names of its labels."""
    for path in ("/deals", "/deals?limit=0"):
        await client.get(path)
    found: dict[str, set[str]] = {}
    for line in (await client.get("/metrics")).text.splitlines():
        if match := re.fullmatch(r"(\w+)(?:\{(.*)\})? [^ ]+", line):
            labels = set(re.findall(r'(\w+)="', match[2] or ""))
            found.setdefault(match[1], set()).update(labels)
    # This series exists only after a refusal.
    found.setdefault("deals_http_requests_shed_total", set())
    return found


async def test_expressions_read_existing_metrics(known_metrics: dict[str, set[str]]) -> None:
    read = set()
    for name, expression in expressions():
        for selector in metric_selectors(promql_parser.parse(expression)):
            assert selector.name in known_metrics, name
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= known_metrics[selector.name], name
            read.add(selector.name)

    # The walk enters functions, aggregations and both sides of operators.
    assert len(read) >= 15


def test_alerts_have_duration_severity_and_summary() -> None:
    names = [rule["alert"] for rule in RULES]

    assert len(names) == len(set(names))
    for rule in RULES:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert DURATION.fullmatch(rule["for"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]


def test_dashboard_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells

    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_prometheus_loads_alert_rules() -> None:
    loaded = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text())

    assert loaded["rule_files"] == ["alerts.yml"]
