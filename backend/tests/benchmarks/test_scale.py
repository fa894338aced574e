import random
import re
import xml.etree.ElementTree as ET
from typing import cast

import pytest
from benchmarks.api.database import Database
from benchmarks.api.facts import Facts
from benchmarks.api.memory import mixed
from benchmarks.api.scale import Point, picture, table, wrong_totals
from benchmarks.api.scenarios import BY_NAME

pytestmark = pytest.mark.unit

POINTS = [
    Point(name, title, deals, p50, 2 * p50, 100.0, 0)
    for name, title, deals, p50 in (
        ("first-page", "first page", 50_000, 5.0),
        ("skip", "page at skip 40,000", 50_000, 20.0),
        ("first-page", "first page", 5_000_000, 6.0),
        ("skip", "page at skip 4,000,000", 5_000_000, 2000.0),
    )
]


class FakeDatabase:
    """A database that answers every query with the given rows."""

    def __init__(self, *rows: tuple[object, ...]) -> None:
        self._rows = rows

    def rows(self, _statement: str) -> list[tuple[object, ...]]:
        return list(self._rows)


def fake_database(*rows: tuple[object, ...]) -> Database:
    return cast("Database", FakeDatabase(*rows))


def test_scale_table_has_growth() -> None:
    rows = [line.strip("|").split("|") for line in table(POINTS).splitlines()[2:]]

    assert [[cell.strip() for cell in row] for row in rows] == [
        ["first page", "5.00", "6.00", "1.20"],
        ["page at skip 40,000 … 4,000,000", "20.0", "2,000", "100"],
    ]


def test_scale_chart_has_line_per_scenario() -> None:
    root = ET.fromstring(picture(POINTS))  # noqa: S314 - our own

    assert sum(element.tag.endswith("}polyline") for element in root.iter()) == 2


def test_wrong_totals_different_total_is_found() -> None:
    first_page = BY_NAME["first-page"]

    assert wrong_totals(first_page, {"total": 7}, fake_database((7,))) == []
    assert wrong_totals(first_page, {"total": 6}, fake_database((7,))) == [
        "first-page: the total is 6, and there are 7"
    ]
    assert wrong_totals(BY_NAME["deal"], {"id": 1}, fake_database()) == []


def test_wrong_totals_different_statistics_are_found() -> None:
    answer = [{"city": "Rome", "avg_price": "9.50", "deal_count": 2}]

    assert wrong_totals(BY_NAME["stats"], answer, fake_database(("Rome", "9.50", 2))) == []
    assert wrong_totals(BY_NAME["stats"], answer, fake_database(("Rome", "9.51", 2)))


def test_mixed_requests_are_repeatable_and_of_every_kind() -> None:
    facts = Facts(1000, list(range(1, 50)), [1, 2], 800, "Q3Vyc29y", '"1.ab"')

    requests, again = (mixed(facts, random.Random(1)) for _ in range(2))  # noqa: S311 - a mix

    assert requests == again
    kinds = {(request.method, re.split("[/?]", request.path)[1]) for request in requests}
    assert kinds == {("GET", "deals"), ("GET", "hotels"), ("POST", "deals"), ("PATCH", "deals")}
    assert len({request.path for request in requests}) > 500
