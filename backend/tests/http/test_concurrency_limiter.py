"""Who is let in: the rule by itself."""

import pytest

from app.http.concurrency_limiter import Admission

pytestmark = pytest.mark.unit


@pytest.fixture
def full() -> Admission:
    """Four are in, which is as many as may, and one was refused."""
    admission = Admission(4)
    assert [admission.enter() for _ in range(5)] == [True] * 4 + [False]
    return admission


def test_there_is_room_again_when_one_has_ended(full: Admission) -> None:
    full.leave()

    assert full.enter()
    assert not full.enter()


def test_who_comes_sooner_than_told_waits_for_the_end_of_the_rush(full: Admission) -> None:
    full.leave()
    assert not full.enter(early=True)
    # Others are not held up by it.
    assert full.enter()

    full.leave()
    full.leave()
    assert full.in_progress == 2
    assert full.enter(early=True)


def test_without_a_rush_nobody_is_too_early() -> None:
    admission = Admission(4)
    assert [admission.enter(early=True) for _ in range(5)] == [True] * 4 + [False]


def test_of_one_place_half_is_all_of_it() -> None:
    admission = Admission(1)
    assert admission.enter()
    assert not admission.enter()
    admission.leave()

    assert admission.enter(early=True)
