import itertools
import os
from pathlib import Path

import pytest
from benchmarks.api import docs, processes
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.facts import Facts
from benchmarks.api.scenarios import BY_NAME, SCENARIOS, cases, in_turn

pytestmark = pytest.mark.unit

FACTS = Facts(
    deals=1000, deal_ids=[7, 3, 5], hotel_ids=[1, 2], skip=800, cursor="Q3Vyc29y", tag='"1.ab"'
)


class TestScenarios:
    def test_each_has_requests_and_title(self) -> None:
        for scenario in SCENARIOS:
            for request in scenario.requests_to("service", FACTS, 0):
                assert "{" not in request.path
                assert request.raw().startswith(
                    f"{request.method} {request.path} HTTP/1.1".encode()
                )
            assert "{" not in scenario.title.format(facts=FACTS)
            assert scenario.writes == (request.method != "GET")

    def test_floor_first_page_is_requested_without_total(self) -> None:
        first_page = BY_NAME["first-page"]

        assert first_page.requests_to("service", FACTS, 0)[0].path == "/deals"
        assert first_page.requests_to("floor", FACTS, 0)[0].path == "/deals?count=none"
        assert BY_NAME["skip"].requests_to("floor", FACTS, 0)[0].path == "/deals?skip=800"

    def test_patch_changes_price_in_every_request(self) -> None:
        turns = [BY_NAME["patch"].requests_to("service", FACTS, turn) for turn in range(3)]

        # The load generator repeats a turn, and then starts the next one from its beginning.
        sent = [*turns[0], *turns[0], *turns[1], *turns[2]]
        for path in {request.path for request in sent}:
            prices = [request.body for request in sent if request.path == path]
            assert all(one != other for one, other in itertools.pairwise(prices))


class TestCases:
    def test_default_has_each_scenario_and_some_loads(self) -> None:
        found = [(case.scenario.name, case.connections, case.workers) for case in cases([], [], [])]

        assert found[: len(SCENARIOS)] == [(s.name, s.connections, 1) for s in SCENARIOS]
        assert {(c, w) for _, c, w in found} == {(16, 1), (4, 1), (128, 1), (16, 2)}

    def test_chosen_options_are_combined(self) -> None:
        assert [case.scenario.name for case in cases(["deal"], [], [])] == ["deal"]
        found = cases(["deal", "post"], [16, 128], [1, 2])
        assert len(found) == 8

    def test_order_has_writes_last_and_few_restarts(self) -> None:
        order = [
            (c.scenario.writes, c.workers) for c in in_turn(cases(["deal", "post"], [], [1, 2]))
        ]

        assert order == [(False, 2), (False, 1), (True, 1), (True, 2)]


class TestPage:
    def test_write_replaces_part(self, tmp_path: Path) -> None:
        page = tmp_path / docs.PAGE
        page.write_text("before\n\n<!-- begin http -->\nold\n<!-- end http -->\n\nafter\n")

        docs.write("http", "new \\1", {"a.svg": "<svg/>"}, tmp_path)
        docs.write("http", "newer \\1", {}, tmp_path)

        assert page.read_text() == (
            "before\n\n<!-- begin http -->\n\nnewer \\1\n\n<!-- end http -->\n\nafter\n"
        )
        assert (tmp_path / "a.svg").read_text() == "<svg/>"
        with pytest.raises(BenchmarkError, match="no part"):
            docs.write("other", "new", {}, tmp_path)

    def test_committed_page_has_every_part(self) -> None:
        page = (docs.FOLDER / docs.PAGE).read_text()

        for part in (
            "http",
            "scale",
            "memory",
            "overload",
            "overhead",
            "soak",
            "pages",
            "imports",
        ):
            assert docs.replaced(page, part, "x") != page


class TestProcesses:
    @pytest.mark.skipif(not processes.AVAILABLE, reason="no /proc")
    def test_own_cpu_time_and_memory_are_measured(self) -> None:
        pid = os.getpid()
        before = processes.cpu_seconds(pid)
        sum(range(5_000_000))
        after = processes.cpu_seconds(pid)

        assert before is not None
        assert after is not None
        assert 0 < after - before < 10
        assert processes.resident_bytes(pid) > 10_000_000
        assert processes.parent(pid) not in {None, pid}
