import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from benchmarks.api.report import markdown, number, table
from benchmarks.api.results import CaseResult, SideResult, Turn, as_json
from benchmarks.api.scenarios import Side

pytestmark = pytest.mark.unit

TURN = Turn(
    requests_per_second=100.0,
    p50_ms=10.0,
    p99_ms=30.0,
    server_cpu_ms=1.5,
    postgres_cpu_ms=0.5,
    sessions=0,
    failures=0,
)


def make_side(*rates: float) -> SideResult:
    return SideResult([replace(TURN, requests_per_second=rate) for rate in rates], 1, 1000, "wrk")


def make_case(
    service: SideResult, floor: SideResult, least: Mapping[Side, float], connections: int = 16
) -> CaseResult:
    sides: dict[Side, SideResult] = {"service": service, "floor": floor}
    return CaseResult("first-page", "first page", connections, 1, least, sides)


class TestCaseResult:
    def test_ratio_is_median_of_rounds(self) -> None:
        # In the last round everything took three times as long.
        result = make_case(make_side(500, 510, 170), make_side(1000, 1000, 350), {})

        assert result.ratio("service", "floor") == pytest.approx(0.5)
        assert result.ratio("service", "naive") is None
        assert result.sides["service"].median("requests_per_second") == 500

    @pytest.mark.parametrize(("least", "missed"), [(0.5, False), (0.51, True)])
    def test_ratio_below_aim_is_missed(self, least: float, *, missed: bool) -> None:
        result = make_case(make_side(500), make_side(1000), {"floor": least})

        assert result.misses() == ["first page: 0.50 of the floor, not 0.51"] * missed

    def test_failures_and_long_tail_are_missed(self) -> None:
        long_tail = SideResult([replace(TURN, p99_ms=41.0, failures=2)], 1, 1000, "wrk")

        assert make_case(long_tail, make_side(100), {}).misses() == [
            "first page: service had 2 failures",
            "first page: p99 is 4.1 times p50, not 4",
        ]
        assert make_case(long_tail, make_side(100), {}, connections=128).misses() == [
            "first page, 128 connections: service had 2 failures"
        ]

    def test_cpu_ratio_adds_server_and_postgresql(self) -> None:
        low_cpu_time = SideResult(
            [replace(TURN, server_cpu_ms=0.2, postgres_cpu_ms=0.3)], 1, 1000, "wrk"
        )
        without_cpu_time = SideResult([replace(TURN, server_cpu_ms=None)], 1, 1000, "wrk")

        assert make_case(make_side(100), low_cpu_time, {}).cpu_ratio(
            "service", "floor"
        ) == pytest.approx(4.0)
        assert make_case(make_side(100), without_cpu_time, {}).cpu_ratio("service", "floor") is None
        assert make_case(make_side(100), low_cpu_time, {}).cpu_ratio("service", "naive") is None


class TestReport:
    def test_json_has_medians_ratios_and_turns(self) -> None:
        result = make_case(make_side(500, 600, 700), make_side(1000, 1000, 1000), {"floor": 0.5})

        (found,) = json.loads(json.dumps(as_json({"date": "x"}, [result])))["cases"]

        assert found["ratios"] == {"floor": 0.6}
        assert found["sides"]["service"]["requests_per_second"] == 600
        assert len(found["sides"]["service"]["turns"]) == 3
        assert (found["misses"], found["least"]) == ([], {"floor": 0.5})

    def test_table_compares_service_with_each_side(self) -> None:
        first, second = table(
            [make_case(make_side(450), make_side(1000), {"floor": 0.5})]
        ).splitlines()[2:]

        assert [cell.strip() for cell in first.strip("|").split("|")] == [
            *("first page", "service", "450", "10.0", "30.0", "1.50", "0.50", "1", "1,000", "", "")
        ]
        assert second.endswith("| 0.45 × (aim 0.5) |       1.00 × |")
        assert len(first) == len(second)

    def test_table_missing_cpu_time_leaves_gap(self) -> None:
        without_cpu_time = SideResult([replace(TURN, server_cpu_ms=None)], 1, 1000, "wrk")

        assert without_cpu_time.median("server_cpu_ms") is None
        assert "–" in table([make_case(without_cpu_time, make_side(100), {})])

    def test_markdown_columns_are_aligned(self) -> None:
        assert markdown(["what", "n"], [["a", "1,000"], ["longer", "2"]]).splitlines() == [
            "| what   |     n |",
            "| ------ | ----: |",
            "| a      | 1,000 |",
            "| longer |     2 |",
        ]

    @pytest.mark.parametrize(
        ("value", "shown"),
        [(None, "–"), (0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
    )
    def test_number_has_three_digits(self, value: float | None, shown: str) -> None:
        assert number(value) == shown
