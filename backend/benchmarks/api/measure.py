"""The measurement of one case: compare answers, count statements, and measure in turns."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count, cycle, islice
from statistics import median_low

from benchmarks.api.client import BuiltIn, suited
from benchmarks.api.comparison import differences
from benchmarks.api.database import Database
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.facts import Facts, learn
from benchmarks.api.http import Answer, Request, ask
from benchmarks.api.load import Generator
from benchmarks.api.results import CaseResult, SideResult, Turn
from benchmarks.api.scenarios import Case, Scenario, Side
from benchmarks.api.servers import Server, last_words

_PROBES = 5
_WARM_UP_SECONDS = 0.3
# In seconds. Separates turns, so that late answers of one do not disturb the next.
_PAUSE = 0.1
_SHOWN_DIFFERENCES = 10


class DifferentAnswersError(BenchmarkError):
    """Different answers of two servers."""


@dataclass(frozen=True)
class Costs:
    """The costs of one request: bytes of the answer's body, and SQL statements."""

    bytes: int
    statements: int


@dataclass(frozen=True)
class Measurement:
    """The method of a measurement: database, generator, rounds and seconds per turn."""

    database: Database
    generator: Generator
    rounds: int
    seconds: float

    def compare(self, case: Case, sides: Mapping[Side, Server]) -> dict[Side, Costs]:
        """Compare the answers of the servers, and count their statements.

        Raises:
            DifferentAnswersError: the answers differ.
        """
        scenario = case.scenario
        facts = learn(self.database, sides["service"].port)
        last_id = self.database.rows("SELECT max(id) FROM deals")[0][0]
        undo = scenario.undo.format(facts=facts, last_id=last_id)
        answers: dict[Side, Answer] = {}
        statements: dict[Side, int] = {}
        for side, server in sides.items():
            answers[side] = ask(server.port, scenario.requests_to(side, facts, 0)[0])
            statements[side] = self._statements(case, facts, side, server)
            if undo:
                self.database.run(undo)
        for side, answer in answers.items():
            _require_same(scenario, side, answers["service"], answer, sides[side])
        return {side: Costs(len(answers[side].body), statements[side]) for side in sides}

    def _statements(self, case: Case, facts: Facts, side: Side, server: Server) -> int:
        """Return the median of a request's statements, because new connections add some."""
        requests = case.scenario.requests_to(side, facts, 1)
        return median_low(
            self.database.statements_of(partial(ask, server.port, request))
            for request in islice(cycle(requests), _PROBES)
        )

    def measure(
        self, case: Case, sides: Mapping[Side, Server], costs: Mapping[Side, Costs]
    ) -> CaseResult:
        """Measure the servers in turns."""
        # Clean up the writes of earlier cases, so that they do not affect this one.
        self.database.tidy()
        facts = learn(self.database, sides["service"].port)
        turns = count(2)
        generators = {
            side: self._warm_up(case.scenario.requests_to(side, facts, next(turns)), server, case)
            for side, server in sides.items()
        }
        found: dict[Side, list[Turn]] = {side: [] for side in sides}
        for _ in range(self.rounds):
            for side, server in sides.items():
                requests = case.scenario.requests_to(side, facts, next(turns))
                found[side].append(self._turn(generators[side], requests, server, case.connections))
        return CaseResult(
            case.scenario.name,
            case.scenario.title.format(facts=facts),
            case.connections,
            case.workers,
            {side: least for side, least in case.scenario.least.items() if side in sides},
            {
                side: SideResult(
                    turns, costs[side].statements, costs[side].bytes, generators[side].name
                )
                for side, turns in found.items()
            },
        )

    def _warm_up(self, requests: list[Request], server: Server, case: Case) -> Generator:
        """Warm up connections, prepared statements and caches. Return a suitable generator."""
        seconds = min(_WARM_UP_SECONDS, self.seconds)
        load = BuiltIn().run(server.port, requests, connections=case.connections, seconds=seconds)
        return suited(self.generator, load, self.seconds)

    def _turn(
        self, generator: Generator, requests: list[Request], server: Server, connections: int
    ) -> Turn:
        time.sleep(min(_PAUSE, self.seconds))
        sessions = self.database.sessions()
        before = server.cpu_seconds(), self.database.cpu_seconds()
        load = generator.run(server.port, requests, connections=connections, seconds=self.seconds)
        after = server.cpu_seconds(), self.database.cpu_seconds()
        server_cpu, postgres_cpu = (
            (now - then) * 1000 / max(1, load.requests)
            if now is not None and then is not None
            else None
            for then, now in zip(before, after, strict=True)
        )
        return Turn(
            requests_per_second=load.requests / load.seconds,
            p50_ms=load.p50_ms,
            p99_ms=load.p99_ms,
            server_cpu_ms=server_cpu,
            postgres_cpu_ms=postgres_cpu,
            sessions=self.database.sessions() - sessions,
            # wrk does not wait for answers, so a hung server has no failures and no requests.
            failures=load.failures or int(load.requests == 0),
        )


def _require_same(
    scenario: Scenario, side: Side, expected: Answer, found: Answer, server: Server
) -> None:
    problems = differences(expected, found, scenario.ignored.get(side, frozenset()))
    if not problems:
        return
    problems = problems[:_SHOWN_DIFFERENCES]
    if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        problems.append(last_words(server.log))
    lines = "\n  ".join(problems)
    raise DifferentAnswersError(f"{scenario.name}: the service and the {side} differ:\n  {lines}")
