"""The scenarios of the benchmark."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from benchmarks.api.facts import Facts
from benchmarks.api.http import Request

Side = Literal["service", "floor", "naive", "unwatched"]
Requests = Callable[[Facts, int], list[Request]]

USUAL_CONNECTIONS = 16
BULK_SIZE = 500
# The numbers of different request bodies in a turn.
_BODIES, _BULK_BODIES = 150, 16
_JSON = (("Content-Type", "application/json"),)

FILTERS = "city=berlin&min_stars=3.9&price_min=100&price_max=300"
_DEAL: Mapping[str, Any] = {
    "room_type": "suite",
    "star_rating": 4,
    "price_per_night": "176.18",
    "original_price": "244.69",
    "discount_percent": 28,
    "checkin_date": "2026-12-01",
    "checkout_date": "2026-12-06",
    "is_available": True,
    "categories": ["boutique", "luxury"],
}
# The fields in which two consecutive writes differ.
_WRITTEN = frozenset({"id", "created_at", "updated_at", "version", "header.etag"})


@dataclass(frozen=True, eq=False)
class Scenario:
    """One kind of request.

    Attributes:
        requests: the requests of one turn, which are repeated. They depend on the turn's number, so
            that a write changes the data in every turn.
        at_floor: an additional query parameter for the floor.
        ignored: the fields that may differ between the service's answer and another server's.
        least: the required ratio of requests per second to each other server.
        total: SQL that counts the rows of the answer's total.
        undo: SQL that reverts a request of the comparison, so that all servers have the same data.
    """

    name: str
    title: str
    requests: Requests
    least: Mapping[Side, float] = field(default_factory=dict)
    at_floor: str = ""
    ignored: Mapping[Side, frozenset[str]] = field(default_factory=dict)
    naive: bool = False
    writes: bool = False
    connections: int = USUAL_CONNECTIONS
    total: str = ""
    undo: str = ""

    def requests_to(self, side: Side, facts: Facts, turn: int) -> list[Request]:
        """Return the requests of a turn for one server."""
        requests = self.requests(facts, turn)
        if side != "floor" or not self.at_floor:
            return requests
        return [
            replace(r, path=f"{r.path}{'&' if '?' in r.path else '?'}{self.at_floor}")
            for r in requests
        ]


def _get(path: str) -> Requests:
    def requests(facts: Facts, _turn: int) -> list[Request]:
        return [Request("GET", path.format(facts=facts))]

    return requests


def _one_deal(facts: Facts, _turn: int) -> list[Request]:
    return [Request("GET", f"/deals/{deal_id}") for deal_id in facts.deal_ids[:100]]


def _unchanged_deal(facts: Facts, _turn: int) -> list[Request]:
    return [Request("GET", f"/deals/{facts.deal_ids[0]}", (("If-None-Match", facts.tag),))]


def _new_deal(facts: Facts, number: int) -> dict[str, Any]:
    return {"hotel_id": facts.hotel_ids[number * 31 % len(facts.hotel_ids)], **_DEAL}


def _post(facts: Facts, _turn: int) -> list[Request]:
    bodies = [json.dumps(_new_deal(facts, number)).encode() for number in range(_BODIES)]
    return [Request("POST", "/deals", _JSON, body) for body in bodies]


def _patch(facts: Facts, turn: int) -> list[Request]:
    """Return PATCH requests that set a new price in each repetition and each turn."""
    return [
        Request(
            "PATCH",
            f"/deals/{deal_id}",
            _JSON,
            json.dumps({"price_per_night": f"{100 + turn % 400}.{lap + 10}"}).encode(),
        )
        for lap in range(2)
        for deal_id in facts.deal_ids
    ]


def _bulk(facts: Facts, _turn: int) -> list[Request]:
    bodies = [
        json.dumps([_new_deal(facts, first + number) for number in range(BULK_SIZE)]).encode()
        for first in range(_BULK_BODIES)
    ]
    return [Request("POST", "/deals/bulk", _JSON, body) for body in bodies]


_NAIVE_PAGE = frozenset({"next_cursor", "header.link"})
_ALL_DEALS = "SELECT count(*) FROM deals"
_UNDO_INSERT = "DELETE FROM deals WHERE id > {last_id}"

_CREATE = Scenario(
    "post",
    "POST a deal",
    _post,
    ignored={"floor": _WRITTEN | {"header.location"}},
    writes=True,
    undo=_UNDO_INSERT,
)

SCENARIOS = (
    Scenario(
        "first-page",
        "first page, exact total",
        _get("/deals"),
        least={"floor": 0.5, "naive": 10},
        at_floor="count=none",
        ignored={"floor": frozenset({"total", "header.link"}), "naive": _NAIVE_PAGE},
        naive=True,
        total=_ALL_DEALS,
    ),
    Scenario(
        "filtered",
        "city, stars and price range",
        _get(f"/deals?{FILTERS}"),
        least={"floor": 0.6},
        total="""
            SELECT count(*) FROM deals WHERE price_per_night BETWEEN 100 AND 300
            AND hotel_id IN (SELECT id FROM hotels WHERE city = 'Berlin')
            AND hotel_id IN (SELECT hotel_id FROM deals GROUP BY 1 HAVING avg(star_rating) >= 3.9)
        """,
    ),
    Scenario(
        "category",
        "a category",
        _get("/deals?category=luxury"),
        total="""
            SELECT count(*) FROM deal_categories JOIN categories ON id = category_id
            WHERE name = 'luxury'
        """,
    ),
    Scenario("sorted", "sorted by price", _get("/deals?sort=price_per_night"), total=_ALL_DEALS),
    Scenario(
        "sorted-by-two",
        "sorted by discount, then price",
        _get("/deals?sort=-discount_percent%2Cprice_per_night"),
        total=_ALL_DEALS,
    ),
    Scenario(
        "skip", "page at skip {facts.skip:,}", _get("/deals?skip={facts.skip}"), total=_ALL_DEALS
    ),
    Scenario("cursor", "cursor page as deep", _get("/deals?cursor={facts.cursor}")),
    Scenario(
        "deal",
        "one deal",
        _one_deal,
        least={"floor": 0.45},
    ),
    Scenario("not-modified", "one deal, 304 by ETag", _unchanged_deal),
    Scenario(
        "stats",
        "statistics by city",
        _get("/deals/stats"),
        least={"naive": 10},
        naive=True,
    ),
    Scenario(
        "hotels",
        "page of hotels",
        _get("/hotels"),
        least={"floor": 0.45},
        total="SELECT count(*) FROM hotels",
    ),
    _CREATE,
    replace(
        _CREATE,
        name="post-by-two",
        title="POST a deal, floor by two inserts in a transaction",
        least={"floor": 0.5},
        at_floor="by=two",
    ),
    Scenario(
        "patch",
        "PATCH a price",
        _patch,
        ignored={"floor": _WRITTEN},
        writes=True,
        undo="UPDATE deals SET price_per_night = original_price WHERE id = {facts.deal_ids[0]}",
    ),
    Scenario(
        "bulk",
        f"POST {BULK_SIZE} deals at once",
        _bulk,
        ignored={"floor": frozenset({"results[].id"})},
        writes=True,
        connections=4,
        undo=_UNDO_INSERT,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True)
class Case:
    """A scenario with a number of connections and a number of server workers."""

    scenario: Scenario
    connections: int
    workers: int = 1


# Cases in addition to each scenario with its usual connections and one worker.
_MORE = (("first-page", 128, 1), ("post", 128, 1), ("first-page", USUAL_CONNECTIONS, 2))


def cases(names: list[str], connections: list[int], workers: list[int]) -> list[Case]:
    """Return the usual cases, or those that the options select."""
    chosen = [scenario for scenario in SCENARIOS if not names or scenario.name in names]
    if connections or workers:
        return [
            Case(scenario, number, processes)
            for processes in workers or [1]
            for scenario in chosen
            for number in connections or [scenario.connections]
        ]
    found = [Case(scenario, scenario.connections) for scenario in chosen]
    return found + [Case(BY_NAME[n], c, w) for n, c, w in _MORE if BY_NAME[n] in chosen]


def in_turn(chosen: list[Case]) -> list[Case]:
    """Sort writes last, because they grow the data, and otherwise save starts of servers."""
    return sorted(
        chosen,
        key=lambda case: (
            case.scenario.writes,
            case.workers if case.scenario.writes else -case.workers,
        ),
    )
