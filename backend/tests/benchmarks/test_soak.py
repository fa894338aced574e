"""The ledger of a soak: it compares confirmed and refused writes with the stored rows."""

import pytest
from benchmarks.soak.ledger import GONE, Ledger

pytestmark = pytest.mark.unit


def test_ledger_confirmed_write_must_be_stored() -> None:
    ledger = Ledger()
    ledger.told(1, 201, {GONE}, "10.00")
    ledger.told(2, 201, {GONE}, "20.00")
    ledger.told(2, 200, ledger.states[2], "21.00")
    ledger.told(3, 201, {GONE}, "30.00")
    ledger.told(3, 204, ledger.states[3], GONE)

    assert ledger.contradictions({1: "10.00", 2: "21.00"}) == []
    assert len(ledger.contradictions({})) == 2
    assert ledger.contradictions({1: "10.00", 2: "20.00"}) == [
        "deal 2: told ['21.00'], stored 20.00"
    ]
    assert len(ledger.contradictions({1: "10.00", 2: "21.00", 3: "30.00"})) == 1
    assert ledger.confirmed == 5


def test_ledger_refused_write_must_not_be_stored() -> None:
    ledger = Ledger()
    ledger.told(1, 422, {GONE}, "10.00")
    ledger.told(2, 201, {GONE}, "20.00")
    ledger.told(2, 409, ledger.states[2], "21.00")

    assert ledger.contradictions({2: "20.00"}) == []
    assert len(ledger.contradictions({1: "10.00", 2: "21.00"})) == 2
    assert ledger.refused == 2


@pytest.mark.parametrize("status", [None, 500, 503])
def test_ledger_unanswered_write_may_be_stored(status: int | None) -> None:
    ledger = Ledger()
    ledger.told(1, status, {GONE}, "10.00")
    ledger.told(1, status, ledger.states[1], "11.00")

    for stored in ({}, {1: "10.00"}, {1: "11.00"}):
        assert ledger.contradictions(stored) == []
    assert len(ledger.contradictions({1: "12.00"})) == 1
    assert ledger.unsure == 2
