"""Who is let in: the rule by itself."""

import pytest

from app.http.concurrency_limiter import ConcurrencyLimiter

pytestmark = pytest.mark.unit


@pytest.fixture
def full() -> ConcurrencyLimiter:
    """Four are in, which is as many as may, and one was refused."""
    admission = ConcurrencyLimiter(4)
    assert [admission.try_acquire() for _ in range(5)] == [True] * 4 + [False]
    return admission


def test_there_is_room_again_when_one_has_ended(full: ConcurrencyLimiter) -> None:
    full.release()

    assert full.try_acquire()
    assert not full.try_acquire()


def test_who_comes_sooner_than_told_waits_for_the_end_of_the_rush(full: ConcurrencyLimiter) -> None:
    full.release()
    assert not full.try_acquire(early=True)
    # Others are not held up by it.
    assert full.try_acquire()

    full.release()
    full.release()
    assert full.in_progress == 2
    assert full.try_acquire(early=True)


def test_without_a_rush_nobody_is_too_early() -> None:
    admission = ConcurrencyLimiter(4)
    assert [admission.try_acquire(early=True) for _ in range(5)] == [True] * 4 + [False]


def test_of_one_place_half_is_all_of_it() -> None:
    admission = ConcurrencyLimiter(1)
    assert admission.try_acquire()
    assert not admission.try_acquire()
    admission.release()

    assert admission.try_acquire(early=True)
