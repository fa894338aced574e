"""The pace of refusals, by a clock of the test's own."""

import pytest

from app.http.pace import Pace

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def delays(pace: Pace, count: int) -> list[float]:
    return [round(pace.next_delay(), 6) for _ in range(count)]


def test_pace_burst_is_not_delayed() -> None:
    assert delays(Pace(500, 100, 1.0, Clock()), 100) == [0.0] * 100


def test_pace_events_after_burst_are_spread_by_interval() -> None:
    pace = Pace(500, 100, 1.0, Clock())
    delays(pace, 100)

    assert delays(pace, 3) == [0.002, 0.004, 0.006]


def test_pace_delay_has_a_maximum() -> None:
    assert max(delays(Pace(500, 100, 1.0, Clock()), 5000)) == 1.0


def test_pace_pause_allows_another_burst() -> None:
    clock = Clock()
    pace = Pace(500, 100, 1.0, clock)
    delays(pace, 300)

    clock.now += 10

    assert delays(pace, 101) == [0.0] * 100 + [0.002]
